"""Where a chat model's address may not lead: to what tells a cloud's machines their secrets."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from rag_app.chat_models.errors import ChatModelNameError

_METADATA = tuple(
    map(
        ip_network,
        (
            "169.254.0.0/16",  # link-local: AWS, Google, Azure, Oracle and most others tell secrets at 169.254.169.254
            "fe80::/10",
            "fd00:ec2::/32",  # AWS
            "fd20:ce::/32",  # Google
            "100.100.100.200/32",  # Alibaba
            "168.63.129.16/32",  # Azure
            "192.0.0.192/32",  # Oracle
        ),
    )
)


def check_destination(url: str) -> None:
    """Check that a server is none that tells a machine's secrets to whoever asks from there.

    A name is looked up now, and once more when it is connected to: a name server that answers otherwise the second
    time is not found out.

    Args:
        url: Of the server.

    Raises:
        ChatModelNameError: It is one.
    """
    parts = urlsplit(url)
    for address in _addresses(parts.hostname or "", parts.port):
        if any(address in network for network in _METADATA if network.version == address.version):
            raise ChatModelNameError(
                f"{parts.hostname} is an address at which machines are told their secrets. Give the chat model's own.",
                "bad_address",
            )


def _addresses(host: str, port: int | None) -> list[IPv4Address | IPv6Address]:
    host = host.partition("%")[0]  # of an address, which network it is in does not matter
    try:
        found = {str(known[4][0]) for known in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):  # nobody is there: connecting will tell
        return []
    addresses = [ip_address(text) for text in found]
    return [getattr(address, "ipv4_mapped", None) or address for address in addresses]
