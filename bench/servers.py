#!/usr/bin/env python3
"""What a request costs our HTTP server and our proxy, both with the user engine, beside nginx and haproxy, and how long answers take.

Processor time of the server's process for each request; the proxy alone, without the upstream. Latencies are of the same requests. Each server has a
processor for itself. The load, which is bench-load's, and the upstream have another one. All run in a network namespace with nothing but the
loopback device.
"""

import argparse
import gzip
import json
import os
import pathlib
import platform
import re
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time

REPO = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("RINGSTEP_BUILD_DIR") or REPO / "build").absolute()
OWN_NETWORK = "RINGSTEP_OWN_NETWORK"
KINDS = ("http", "files", "proxy")
FIXED = 64  # bytes of the answer that is no file. nginx's `return` takes no long ones
PERCENTILES = {"p50": "p50", "p99": "p99", "p999": "p99.9"}
# Where ours must not take more time than others do, with --most.
JUDGED_CONNECTIONS, JUDGED_SIZE = (8, 64), 64
# Lines of the kernel's configuration that bear on the figures: those that facts.hpp names, as far as they say something here.
CONFIGURATION = re.compile(r"CONFIG_(HZ=|PREEMPT|MITIGATION_RETPOLINE|MITIGATION_PAGE_TABLE_ISOLATION|DEBUG_PREEMPT|KASAN=|PROVE_LOCKING)")

# The same limits and logs (none) for all. `master_process off` and `nbthread 1`: one thread, as the loop has.
NGINX = """
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off; master_process off; pid {folder}/{name}.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
"""
TEMPORARY = "".join(f"{part}_temp_path {{folder}}/{part};\n" for part in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
# The loop opens files once. nginx does that only with a cache of open files. tcp_nopush puts head and file into one packet, which is cheaper. But
# the last answers to requests that come at once are then held back until the client's delayed acknowledgement, 40 ms later. So nginx is measured
# without it, too, and with it only for one request at once.
NGINX_HTTP = NGINX + "http {{ access_log off; keepalive_requests 1000000000; default_type application/octet-stream;\n" + TEMPORARY + """
sendfile on; {more}
server {{ listen 127.0.0.1:{port}; root {files};
location = /fixed {{ default_type text/plain; return 200 """ + "x" * FIXED + """; }} }} }}
"""
OPEN_FILES = "open_file_cache max=100; open_file_cache_valid 1h;"
NO_PUSH = "tcp_nopush on;"
NGINX_STREAM = NGINX + "stream {{ server {{ listen 127.0.0.1:{port}; proxy_buffer_size 32k; proxy_pass 127.0.0.1:{upstream}; }} }}\n"
HAPROXY = """
global
 nbthread 1
 tune.bufsize 32768
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


def facts(arguments):
    """Where the figures come from."""

    def first_match(pattern, text, otherwise="unknown"):
        found = re.search(pattern, text, re.MULTILINE)
        return found[1] if found else otherwise

    configuration = []
    for path, read in ((f"/boot/config-{platform.release()}", open), ("/proc/config.gz", gzip.open)):
        if os.path.exists(path):
            with read(path, "rt") as file:
                configuration = [line.rstrip() for line in file if CONFIGURATION.match(line)]
            break
    mitigations = pathlib.Path("/sys/devices/system/cpu/vulnerabilities/spectre_v2")
    versions = {}
    for name, option in (("nginx", "-v"), ("haproxy", "-v")):
        said = subprocess.run([name, option], capture_output=True, text=True)
        versions[name] = first_match(r"(\d+\.\d+\.\d+)", said.stdout + said.stderr)
    return {
        "kernel": platform.release(),
        "processor": first_match(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text()),
        "processors": len(os.sched_getaffinity(0)),
        "spectre_v2": mitigations.read_text().strip() if mitigations.exists() else "unknown",
        "configuration": configuration,
        "versions": versions,
        "revision": os.environ.get("RINGSTEP_BENCH_REVISION", "unknown"),
        "runs": arguments.runs,
        "requests": arguments.requests,
        "rate": arguments.rate,
    }


class Server:
    """A server in a process of its own. `paths` is what to ask it for, by the size of the answer; `most_at_once`, how many requests at once."""

    def __init__(self, title, command, port, processor, paths, most_at_once=1000):
        self.title, self.port, self.paths, self.most_at_once = title, port, paths, most_at_once
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, preexec_fn=lambda: os.sched_setaffinity(0, {processor}), cwd="/"
        )
        deadline = time.monotonic() + 20
        listening = re.compile(rf":{port:04X} 0+:0000 0A")
        while not listening.search(pathlib.Path("/proc/net/tcp").read_text()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"bench/servers.py: {title} does not listen")
            time.sleep(0.01)
        self.samples = []

    def end(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def load(server, size, connections, pipeline, requests, rate, processor):
    """Returns what bench-load says of a run, with nanoseconds of the server for each request as `cost`."""
    command = [str(BUILD / "bench" / "bench-load"), "--process", str(server.process.pid), "--port", str(server.port)]
    command += ["--path", server.paths[size], "--connections", str(connections), "--pipeline", str(pipeline)]
    command += ["--requests", str(requests if size <= FIXED else max(requests // 8, 1)), "--rate", str(rate)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, preexec_fn=lambda: os.sched_setaffinity(0, {processor}))
    if result.returncode:
        sys.exit(f"bench/servers.py: the load failed with {server.title}:\n{result.stdout}{result.stderr}")
    said = json.loads(result.stdout)
    return said | {"cost": said["used"] / said["requests"], "busy": said["used"] / said["took"], "speed": said["requests"] / said["took"] * 1e9}


def ask(server, size):
    """Asks once, for an answer that is as it should be."""
    command = ["curl", "--disable", "--silent", "--fail", "--max-time", "10", f"http://127.0.0.1:{server.port}{server.paths[size]}"]
    if subprocess.run(command, capture_output=True, text=True).stdout != "x" * size:
        sys.exit(f"bench/servers.py: the answer of {server.title} is wrong")


def measure(what, servers, sizes, arguments, processor, records):
    """Compares servers, in turn in each run. The first one is ours."""
    sizes = [size for size in sizes if size in servers[0].paths]
    for server in servers:
        for size in sizes:
            ask(server, size)
    if not sizes or arguments.runs == 0:
        print(f"{what}: all answer alike.")
        return
    print(f"{what}: processor time of the server for each request, and latencies in microseconds. Linux {platform.release()}, {arguments.runs} runs.\n")
    print(
        "| server | bytes | connections | at once | ns for each request | least | most | ours / it | "
        + " | ".join(PERCENTILES.values()) + " | ours / it: " + ", ".join(PERCENTILES.values()) + " | requests a second | processor | TCP timeouts |"
    )
    print("|---" * 15 + "|")
    for size in sizes:
        for connections in arguments.connections:
            for pipeline in arguments.pipelines:
                case = (size, connections, pipeline, arguments.requests, arguments.rate, processor)
                ways = [server for server in servers if pipeline <= server.most_at_once]
                for server in ways:
                    server.samples = []
                    load(server, *case)
                for run in range(arguments.runs):
                    for i in range(len(ways)):
                        server = ways[(i + run) % len(ways)]
                        server.samples.append(load(server, *case))
                for server in ways:
                    report(what, server, servers[0], case, records)
    print(flush=True)


def report(what, server, ours, case, records):
    size, connections, pipeline = case[:3]

    def median(key):
        return statistics.median(sample[key] for sample in server.samples)

    def ratio(key):
        return statistics.median(own[key] / its[key] for own, its in zip(ours.samples, server.samples))

    cost = [sample["cost"] for sample in server.samples]
    latencies = " | ".join(f"{median(key) / 1000:,.1f}" for key in PERCENTILES)
    ratios = ", ".join(f"{ratio(key):.3f}" for key in PERCENTILES)
    timeouts = sum(sample["timeouts"] for sample in server.samples)
    print(
        f"| {server.title} | {size} | {connections} | {pipeline} | {median('cost'):,.0f} | {min(cost):,.0f} | {max(cost):,.0f} | {ratio('cost'):.3f} | "
        f"{latencies} | {ratios} | {median('speed'):,.0f} | {median('busy'):.0%} | {timeouts} |",
        flush=True,
    )
    records.append(
        {"what": what, "server": server.title, "size": size, "connections": connections, "pipeline": pipeline}
        | {"requests": server.samples[0]["requests"], "ratio": ratio("cost"), "requests_per_second": median("speed"), "busy": median("busy"), "timeouts": timeouts}
        | {key: {"median": median(key), "ratio": ratio(key), "samples": [sample[key] for sample in server.samples]} for key in PERCENTILES}
        | {"samples": cost}
    )


def is_judged(record):
    return record["connections"] in JUDGED_CONNECTIONS and record["size"] == JUDGED_SIZE and record["pipeline"] == 1


def numbers(text):
    return [int(number) for number in text.split(",")]


def main():
    parser = argparse.ArgumentParser(prog="./dev bench servers", description=__doc__)
    parser.add_argument("--runs", type=int, default=11, help="of each server (default: 11). 0: only ask each of them once")
    parser.add_argument("--requests", type=int, default=65536, help="in a run (default: 65536). Of answers that are larger than 64 bytes, an eighth")
    parser.add_argument("--rate", type=int, default=0, help="requests a second, at fixed times (default: each connection sends as soon as it has its answers)")
    parser.add_argument("--connections", type=numbers, default=[1, 8, 64, 512], help="512 at most (default: 1,8,64,512)")
    parser.add_argument("--pipelines", type=numbers, default=[1, 16], help="requests that a connection sends at once (default: 1,16)")
    parser.add_argument("--sizes", type=numbers, default=[64, 16384], help="bytes of an answer (default: 64,16384)")
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=KINDS, help=f"of {', '.join(KINDS)} (default: all)")
    parser.add_argument(
        "--most", type=float, help=f"fail where ours takes more than that of another's time, with {JUDGED_SIZE} bytes and 8 or 64 connections, one request at once"
    )
    parser.add_argument("--json", help="write all samples to this file")
    arguments = parser.parse_args()
    if not set(arguments.kinds) <= set(KINDS):
        parser.error(f"--kinds takes {', '.join(KINDS)}")
    if OWN_NETWORK not in os.environ:
        os.environ[OWN_NETWORK] = "yes"
        os.execvp("unshare", ["unshare", "--net", "--", sys.executable, "-B", *sys.argv])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    os.environ["RINGSTEP_ENGINE"] = "user"
    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most_files, 16384) if most_files != resource.RLIM_INFINITY else 16384, most_files))
    own, other = processors()
    if own == other:
        print("bench/servers.py: there is one processor for the server and its load, which cost each other time", file=sys.stderr)
    origin = facts(arguments)
    if arguments.runs > 0:
        print(
            f"Processor: {origin['processor']}, {origin['processors']} for us; spectre_v2: {origin['spectre_v2']}. "
            f"Configuration: {', '.join(origin['configuration'])}. nginx {origin['versions']['nginx']}, haproxy {origin['versions']['haproxy']}.\n"
        )
    records, servers = [], []
    # In the build folder: on a tmpfs, where /tmp often is, reads by io_uring go to worker threads.
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        files = pathlib.Path(folder) / "files"
        files.mkdir()
        paths = {size: f"/{size}.bin" for size in arguments.sizes}
        for size, path in paths.items():
            (files / path[1:]).write_text("x" * size)
        fixed = {FIXED: "/fixed"} if FIXED in arguments.sizes else {}

        def start(*server, **options):
            servers.append(Server(*server, **options))

        def nginx(title, configuration, port, processor, paths, upstream=0, more="", **options):
            file = pathlib.Path(folder) / f"nginx-{port}.conf"
            file.write_text(configuration.format(folder=folder, files=files, name=port, port=port, upstream=upstream, more=more))
            start(title, ["nginx", "-e", "stderr", "-p", folder, "-c", str(file)], port, processor, paths, **options)

        def end():
            while servers:
                servers.pop().end()

        try:
            if "http" in arguments.kinds and fixed:
                start("ringstep, HttpServer", [str(BUILD / "examples" / "http-server"), "8000"], 8000, own, {FIXED: "/notes/x"})
                nginx("nginx, `return 200`", NGINX_HTTP, 8001, own, fixed)
                note = ["curl", "--disable", "--silent", "--fail", "--max-time", "10", "--request", "PUT", "--data-binary", "x" * FIXED]
                subprocess.run(note + ["--output", "/dev/null", "http://127.0.0.1:8000/notes/x"], check=True)
                measure("HTTP, a fixed answer", servers, arguments.sizes, arguments, other, records)
                end()
            if "files" in arguments.kinds:
                start("ringstep, HttpServer", [str(BUILD / "examples" / "http-server"), "8010", str(files)], 8010, own, paths)
                nginx("nginx, files kept open, tcp_nopush", NGINX_HTTP, 8011, own, paths, more=OPEN_FILES + NO_PUSH, most_at_once=1)
                nginx("nginx, files kept open", NGINX_HTTP, 8012, own, paths, more=OPEN_FILES)
                nginx("nginx, files opened each time", NGINX_HTTP, 8013, own, paths)
                measure("HTTP, files", servers, arguments.sizes, arguments, other, records)
                end()
            if "proxy" in arguments.kinds:
                through = paths | fixed
                nginx("upstream", NGINX_HTTP, 8020, other, through, more=OPEN_FILES)
                command = [str(BUILD / "examples" / "ringstep-proxy"), "--port", "9000", "127.0.0.1:8020"]
                start("ringstep, Proxy", command, 9000, own, through)
                file = pathlib.Path(folder) / "haproxy.cfg"
                file.write_text(HAPROXY.format(port=9001, upstream=8020))
                start("haproxy, TCP mode", ["haproxy", "-db", "-f", str(file)], 9001, own, through)
                nginx("nginx, stream", NGINX_STREAM, 9002, own, through, upstream=8020)
                measure("Proxy of HTTP", servers[1:], arguments.sizes, arguments, other, records)
        finally:
            end()
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps({"benchmark": "servers", "facts": origin, "records": records}, indent=1) + "\n")
    if arguments.most is not None and any(record["ratio"] > arguments.most for record in records if is_judged(record)):
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
