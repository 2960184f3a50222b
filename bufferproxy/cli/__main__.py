"""`python -m bufferproxy.cli`."""

from bufferproxy.cli import main

main()
