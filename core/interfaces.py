"""The addresses of this machine's own network interfaces."""

import socket

import psutil


def interface_addresses() -> set[str]:
    """IPv4 and IPv6, without an interface's zone."""
    return {
        each.address.partition("%")[0]
        for addresses in psutil.net_if_addrs().values()
        for each in addresses
        if each.family in {socket.AF_INET, socket.AF_INET6}
    }
