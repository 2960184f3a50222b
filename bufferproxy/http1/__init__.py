"""The wire, both ways: HTTP/1.1 and 1.0, byte for byte, over httptools (llhttp)."""
