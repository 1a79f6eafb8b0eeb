"""Whether an address leads to this machine alone."""

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Return whether a host, by its address or as ``localhost``, is this machine."""
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:  # another name of a machine
        return False
