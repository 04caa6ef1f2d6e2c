#!/usr/bin/env python3
"""What a request costs our HTTP server and our proxy, both with the user engine, beside nginx and haproxy. The load is wrk's.

Processor time of the server's process, for each request; the proxy alone, without the upstream. Each server has a processor for itself. wrk and the
upstream have another one. All run in a network namespace with nothing but the loopback device.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

REPO = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("RINGSTEP_BUILD_DIR") or REPO / "build").absolute()
BODY = "x" * 64
OWN_NETWORK = "RINGSTEP_OWN_NETWORK"

# The same limits and logs (none) for all. `master_process off` and `nbthread 1`: one thread, as the loop has.
NGINX = """
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off; master_process off; pid {folder}/{name}.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
"""
TEMPORARY = "".join(f"{part}_temp_path {{folder}}/{part};\n" for part in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
NGINX_HTTP = NGINX + "http {{ access_log off; keepalive_requests 1000000000;\n" + TEMPORARY + """
server {{ listen 127.0.0.1:{port}; location / {{ default_type text/plain; return 200 """ + BODY + """; }} }} }}
"""
NGINX_STREAM = NGINX + "stream {{ server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{upstream}; }} }}\n"
HAPROXY = """
global
 nbthread 1
 maxconn 4096
defaults
 mode tcp
 timeout connect 5s
 timeout client 60s
 timeout server 60s
listen all
 bind 127.0.0.1:{port}
 server one 127.0.0.1:{upstream}
"""


def processors():
    """One for the server, and one for all else."""
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[1]) if len(allowed) > 1 else (allowed[0], allowed[0])


class Server:
    """A server in a process of its own."""

    def __init__(self, title, command, port, processor):
        self.title, self.port = title, port
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, preexec_fn=lambda: os.sched_setaffinity(0, {processor}), cwd="/"
        )
        deadline = time.monotonic() + 20
        listening = re.compile(rf":{port:04X} 0+:0000 0A")
        while not listening.search(pathlib.Path("/proc/net/tcp").read_text()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"bench/servers.py: {title} does not listen")
            time.sleep(0.01)
        self.samples = {}

    def time(self):
        """Nanoseconds of processor time that all threads have used."""
        total = 0
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except OSError:
                pass  # a thread that has ended
        return total

    def end(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def load(server, path, connections, seconds, processor):
    """Returns nanoseconds of the server for each request, requests in a second, and what part of its processor the server has used."""
    command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "10s", f"http://127.0.0.1:{server.port}{path}"]
    for _ in range(3):
        before = server.time()
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds + 30, preexec_fn=lambda: os.sched_setaffinity(0, {processor})
        )
        used = server.time() - before
        found = re.search(r"(\d+) requests in ([\d.]+)(m?s)", result.stdout)
        if result.returncode or not found or "Non-2xx" in result.stdout or "Socket errors" in result.stdout:
            break
        if found[1] != "0":
            took = float(found[2]) / (1000 if found[3] == "ms" else 1)
            return used / int(found[1]), int(found[1]) / took, used / 1e9 / seconds
        # On a machine that is busy otherwise, one of the programs may not run for that long.
    sys.exit(f"bench/servers.py: wrk had errors, or made no requests, with {server.title}:\n{result.stdout}{result.stderr}")


def ask(server, path):
    """Asks once, for an answer that is as it should be."""
    command = ["curl", "--disable", "--silent", "--fail", "--max-time", "10", f"http://127.0.0.1:{server.port}{path}"]
    if subprocess.run(command, capture_output=True, text=True).stdout != BODY:
        sys.exit(f"bench/servers.py: the answer of {server.title} is wrong")


def measure(what, servers, path, arguments, processor, records):
    for server in servers:
        ask(server, path)
    if arguments.runs == 0:
        print(f"{what}: all answer alike.")
        return
    print(f"{what}: processor time of the server for each request. Linux {platform.release()}, {arguments.runs} runs of {arguments.seconds} s each.\n")
    print("| server | connections | ns for each request | least | most | ours / it | requests a second | processor |")
    print("|---|---|---|---|---|---|---|---|")
    for connections in arguments.connections:
        for server in servers:
            server.samples = []
            load(server, path, connections, 1, processor)
        for run in range(arguments.runs):
            for i in range(len(servers)):
                server = servers[(i + run) % len(servers)]
                server.samples.append(load(server, path, connections, arguments.seconds, processor))
        for server in servers:
            cost = [sample[0] for sample in server.samples]
            ratio = statistics.median(ours[0] / its[0] for ours, its in zip(servers[0].samples, server.samples))
            rate = statistics.median(sample[1] for sample in server.samples)
            busy = statistics.median(sample[2] for sample in server.samples)
            print(
                f"| {server.title} | {connections} | {statistics.median(cost):,.0f} | {min(cost):,.0f} | {max(cost):,.0f} | {ratio:.3f} | {rate:,.0f} | {busy:.0%} |",
                flush=True,
            )
            records.append({"what": what, "server": server.title, "connections": connections, "ratio": ratio, "requests": rate, "samples": cost})
    print()


def main():
    parser = argparse.ArgumentParser(prog="./dev bench servers", description=__doc__)
    parser.add_argument("--runs", type=int, default=11, help="of each server (default: 11). 0: only ask each of them once")
    parser.add_argument("--seconds", type=int, default=1, help="of each run (default: 1)")
    parser.add_argument("--connections", type=lambda text: [int(number) for number in text.split(",")], default=[8, 64])
    parser.add_argument("--most", type=float, help="fail where ours takes more than that of another's time")
    parser.add_argument("--json", help="write all samples to this file")
    arguments = parser.parse_args()
    if OWN_NETWORK not in os.environ:
        os.environ[OWN_NETWORK] = "yes"
        os.execvp("unshare", ["unshare", "--net", "--", sys.executable, "-B", *sys.argv])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    os.environ["RINGSTEP_ENGINE"] = "user"
    own, other = processors()
    if own == other:
        print("bench/servers.py: there is one processor for the server and its load, which cost each other time", file=sys.stderr)
    records, servers = [], []
    with tempfile.TemporaryDirectory() as folder:

        def nginx(title, configuration, port, processor, upstream=0):
            file = pathlib.Path(folder) / f"nginx-{port}.conf"
            file.write_text(configuration.format(folder=folder, name=port, port=port, upstream=upstream))
            return Server(title, ["nginx", "-e", "stderr", "-p", folder, "-c", str(file)], port, processor)

        def haproxy(title, port, upstream):
            file = pathlib.Path(folder) / "haproxy.cfg"
            file.write_text(HAPROXY.format(port=port, upstream=upstream))
            return Server(title, ["haproxy", "-db", "-f", str(file)], port, own)

        try:
            servers.append(Server("ringstep, HttpServer", [str(BUILD / "examples" / "http-server"), "8000"], 8000, own))
            servers.append(nginx("nginx, `return 200`", NGINX_HTTP, 8001, own))
            note = ["curl", "--disable", "--silent", "--fail", "--max-time", "10", "--request", "PUT", "--data-binary", BODY]
            subprocess.run(note + ["--output", "/dev/null", "http://127.0.0.1:8000/notes/x"], check=True)
            measure("HTTP, an answer of 64 bytes", servers[:2], "/notes/x", arguments, other, records)
            while servers:
                servers.pop().end()
            upstream = nginx("upstream", NGINX_HTTP, 8002, other)
            servers.append(upstream)
            proxies = [
                Server("ringstep, Proxy", [str(BUILD / "examples" / "ringstep-proxy"), "--port", "9000", "127.0.0.1:8002"], 9000, own)
            ]
            servers += proxies
            proxies.append(haproxy("haproxy, TCP mode", 9001, 8002))
            servers.append(proxies[-1])
            proxies.append(nginx("nginx, stream", NGINX_STREAM, 9002, own, 8002))
            servers.append(proxies[-1])
            measure("Proxy, requests and answers as above", proxies, "/", arguments, other, records)
        finally:
            while servers:
                servers.pop().end()
    if arguments.json:
        facts = {"kernel": platform.release(), "runs": arguments.runs, "seconds": arguments.seconds}
        pathlib.Path(arguments.json).write_text(json.dumps({"benchmark": "servers", "facts": facts, "records": records}, indent=1) + "\n")
    if arguments.most is not None and any(record["ratio"] > arguments.most for record in records):
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
