"""`python -m bufferproxy`."""

from bufferproxy.cli import main

main()
