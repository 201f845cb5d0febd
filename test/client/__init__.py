"""The package of `python -m test.client` and `python test/client`."""
