"""Plays nmap: what it says of each address, and how it misbehaves, is written beside it in `plays`.

A stand-in for what the real one cannot be made to do at a wanted moment. It sends nothing to anybody. It runs without
this repository on its path, with nothing but the standard library.
"""

import json
import os
import signal
import sys
import time
from ipaddress import ip_address, ip_network
from pathlib import Path

HERE = Path(__file__).resolve().parent
HEAD = '<?xml version="1.0"?>\n<nmaprun scanner="nmap" args="nmap" version="7.93" xmloutputversion="1.05">\n'
SCAN = '<scaninfo type="syn" protocol="tcp" numservices="1" services="{ports}"/>\n'
HOST = (
    '<host><status state="up" reason="user-set"/><address addr="{address}" addrtype="ipv4"/>'
    "<ports>{ports}</ports></host>\n"
)
PORT = '<port protocol="tcp" portid="{port}"><state state="{state}" reason="syn-ack"/>{service}</port>'
SERVICE = '<service name="ssh" product="{product}" version="1.{port}" method="probed" conf="10"/>'
END = (
    '<runstats><finished time="1" timestr="" summary="" elapsed="1" exit="success"/>'
    '<hosts up="{total}" down="0" total="{total}"/></runstats>\n</nmaprun>\n'
)
BOMB = '<!DOCTYPE nmaprun [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>\n<nmaprun>&b;</nmaprun>\n'


def play_of(address):
    """What is to be played of an address."""
    try:
        return json.loads((HERE / "plays" / str(address)).read_text())
    except FileNotFoundError:
        return None


def say(text, raw=None):
    """Write it out at once; `raw` are bytes that are no text."""
    sys.stdout.buffer.write(text.encode() if raw is None else raw)
    sys.stdout.buffer.flush()


def sleep_for_ever():
    """Wait for a signal."""
    while True:
        time.sleep(60)


def hold(address):
    """Say that half is done, and wait until something else is to be played; a file `held` tells that this one waits."""
    (HERE / "held" / str(address)).touch()
    say('<taskprogress task="SYN Stealth Scan" time="1" percent="50.00" remaining="1" etc="2"/>\n')
    while (play_of(address) or {}).get("act") == "hold":
        time.sleep(0.05)


def be_stubborn(address):
    """Hang, and be deaf to every wish to end."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sleep_for_ever()


def daemonise(address):
    """Leave a child behind that has left its group and its session."""
    if os.fork() == 0:
        os.setsid()
        be_stubborn(address)


def flood(address):
    """Write a gigabyte."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    for _ in range(1024):
        say("", b" " * 1_048_576)


def truncate(address):
    """End well, in the middle of a host."""
    say('<host><status state="up"/><address addr="127.0.')
    sys.exit(0)


def bomb(address):
    """Declare entities that unfold."""
    sys.stdout.buffer.seek(0)
    sys.stdout.buffer.truncate()
    say(BOMB)
    sys.exit(0)


ACTS = {
    "hold": hold,
    "hang": lambda address: sleep_for_ever(),
    "stubborn": be_stubborn,
    "daemonise": daemonise,
    "flood": flood,
    "die": lambda address: os.kill(os.getpid(), signal.SIGKILL),
    "truncate": truncate,
    "bomb": bomb,
    "garble": lambda address: None,
}
"""What may happen before a host is told of; `garble` is in how it is told."""


def host(address, play, question, asked):
    """One host as nmap tells of it."""
    ports = [port for port in play["ports"] if question == "ports" or port in asked]
    named = "Stand\xff-in" if play.get("act") == "garble" else "Stand-in"
    service = SERVICE if question == "versions" else ""
    told = "".join(
        PORT.format(port=port, state="open", service=service.format(product=named, port=port)) for port in ports
    )
    closed = PORT.format(port=9, state="closed", service="")
    # Latin-1, so that what is no ASCII is no UTF-8 either.
    say("", HOST.format(address=address, ports=told or closed).encode("latin-1"))


def main(argv):
    """Answer as nmap does."""
    if "--version" in argv:
        version = HERE / "version"
        say(version.read_text() if version.exists() else "Nmap version 7.93\n")
        return 0
    if "-iL" not in argv:  # whether raw sockets are to be had
        if (HERE / "powerless").exists():
            sys.stderr.write("You requested a scan type which requires root privileges.\nQUITTING!\n")
            return 1
        closed = PORT.format(port=9, state="closed", service="")
        say(HEAD + SCAN.format(ports=9) + HOST.format(address="127.0.0.1", ports=closed) + END.format(total=1))
        return 0
    say(HEAD)
    total = 0
    question = "discovery" if "-sn" in argv else "versions" if "-sV" in argv else "ports"
    kind = "connect" if "-sT" in argv else "syn"
    if question != "discovery":
        say(SCAN.format(ports=9).replace('"syn"', f'"{kind}"'))
    asked = [int(port) for port in argv[argv.index("-p") + 1].split(",") if port.isdigit()] if "-p" in argv else []
    for target in Path(argv[argv.index("-iL") + 1]).read_text().split():
        network = ip_network(target)
        total += network.num_addresses
        known = [ip_address(name.name) for name in (HERE / "plays").iterdir()]
        for address in sorted(one for one in known if one in network):
            play = play_of(address) or {"ports": []}
            if play.get("act") and play["at"] == question:
                ACTS[play["act"]](address)
            host(address, play, question, asked)
    say(END.format(total=total))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
