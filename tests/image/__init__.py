"""The card in a virtual machine: `python3 -m pytest tests/image`, after `make image`."""
