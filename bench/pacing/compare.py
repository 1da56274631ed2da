"""Two loads in real time through each peer, judged by what the simulator saw.

The simulator allows 600 requests in any minute and 20 in any second (sliding windows); clients are
patient for 30 seconds.

  a  20 requests per second for 60 s: twice what is allowed
  b  54 at once every 6 s for 60 s: what is allowed, in bursts

    cargo build --release
    python3 -m venv .peers && .peers/bin/pip install -r bench/pacing/requirements.txt
    .peers/bin/python bench/pacing/compare.py

Peers that are not installed are left out. `--peers gateway,openai` chooses, `--cases a` too.
"""

import argparse
import asyncio
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BAILIAN = ROOT / "target/release/bailian"
PATIENCE = 30.0
SECONDS = 60
KEY = "sk-bl-compare-key-0001"
BODY = {"model": "qwen-plus", "messages": [{"role": "user", "content": "用一句话介绍杭州。"}]}

SIMULATOR = """
[speed]
ttft_ms = 350
[[limits]]
requests = ["600/60s", "20/1s"]
window = "sliding"
"""

GATEWAY = """
listen = "127.0.0.1:0"
[[accounts]]
api_keys = ["sk-upstream-0001"]
base_url = "{upstream}"
quota_api = {quota_api}
{limits}
[[keys]]
name = "compare"
key = "{key}"
"""

TOLD = """
[[accounts.limits]]
model = "*"
requests = ["600/60s", "20/1s"]
exact = {exact}
ramp = {ramp}
"""

LITELLM = """
model_list:
  - model_name: qwen-plus
    litellm_params:
      model: openai/qwen-plus
      api_base: "{upstream}/compatible-mode/v1"
      api_key: sk-upstream-0001
      rpm: 600
router_settings:
  num_retries: 3
general_settings:
  master_key: "{key}"
"""


class Process:
    """A program that says `listening on http://…` on standard error."""

    def __init__(self, *arguments, environment=None):
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [str(argument) for argument in arguments],
            stderr=self.log,
            stdout=subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
        )

    def url(self):
        for _ in range(200):
            self.log.seek(0)
            for line in self.log:
                if "listening on " in line:
                    return line.split("listening on ")[1].strip()
            time.sleep(0.05)
        raise SystemExit("a server did not come up")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


async def over_http(url, outcomes, began):
    """One request without retries; a gateway is expected to do without."""
    host, port = url.removeprefix("http://").split(":")
    body = json.dumps(BODY).encode()
    started, hint, status = time.monotonic(), None, 0
    writer = None
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(host, int(port))
            head = (
                f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {KEY}\r\n"
                f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            writer.write(head.encode() + body)
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            status = int(lines[0].split()[1])
            for line in lines:
                if line.lower().startswith("retry-after-ms:"):
                    hint = int(line.split(":")[1]) / 1000
            await reader.read()
    except (TimeoutError, OSError, asyncio.IncompleteReadError):
        status = 0
    finally:
        if writer:
            writer.close()
    outcomes.append((status, time.monotonic() - started, started - began, hint))


def with_sdk(upstream):
    """The official OpenAI client with the retries that it has by itself."""
    from openai import APIStatusError, AsyncOpenAI, OpenAIError

    client = AsyncOpenAI(base_url=f"{upstream}/compatible-mode/v1", api_key="sk-plain-0001", timeout=PATIENCE)

    async def send(_url, outcomes, began):
        started, status = time.monotonic(), 0
        try:
            async with asyncio.timeout(PATIENCE):
                await client.chat.completions.create(**BODY)
                status = 200
        except APIStatusError as error:
            status = error.status_code
        except (OpenAIError, TimeoutError):
            status = 0
        outcomes.append((status, time.monotonic() - started, started - began, None))

    send.close = client.close
    return send


async def load(case, send, url):
    outcomes, tasks, began = [], [], time.monotonic()
    if case == "a":
        times = [number / 20 for number in range(20 * SECONDS)]
    else:
        times = [6.0 * burst for burst in range(SECONDS // 6) for _ in range(54)]
    for at in times:
        await asyncio.sleep(max(0, began + at - time.monotonic()))
        tasks.append(asyncio.create_task(send(url, outcomes, began)))
    await asyncio.gather(*tasks)
    if hasattr(send, "close"):
        await send.close()
    return outcomes


def judged(simulator):
    """What the simulator saw: answered in the first minute, answered in all, throttled."""
    with urllib.request.urlopen(f"{simulator}/__sim/journal?format=ndjson") as answer:
        entries = [json.loads(line) for line in answer.read().decode().splitlines()]
    calls = [entry for entry in entries if entry["path"].endswith(("completions", "generation"))]
    if not calls:
        return 0, 0, 0, 0
    first = calls[0]["arrival_ms"]
    taken = [entry for entry in calls if entry["verdict"] != "rejected"]
    early = sum(entry["arrival_ms"] < first + 60_000 for entry in taken)
    lost = sum(entry["verdict"] == "client_left" for entry in taken)
    return early, len(taken), sum(entry["verdict"] == "rejected" for entry in calls), lost


def gateway(limits, quota_api="false"):
    def start(folder, upstream):
        file = folder / "gateway.toml"
        file.write_text(GATEWAY.format(upstream=upstream, key=KEY, limits=limits, quota_api=quota_api))
        process = Process(BAILIAN, "serve", "--config", file)
        return process, process.url(), over_http

    return start


def litellm(folder, upstream):
    program = pathlib.Path(sys.executable).parent / "litellm"
    if not program.exists():
        return None
    file, port = folder / "litellm.yaml", free_port()
    file.write_text(LITELLM.format(upstream=upstream, key=KEY))
    process = Process(program, "--config", file, "--port", port, environment={"LITELLM_TELEMETRY": "False"})
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            time.sleep(0.1)
    return process, f"http://127.0.0.1:{port}", over_http


def plain(_folder, upstream):
    try:
        return None, upstream, with_sdk(upstream)
    except ImportError:
        return None


PEERS = {
    "gateway": gateway(TOLD.format(exact="false", ramp="true")),
    "gateway exact without ramp": gateway(TOLD.format(exact="true", ramp="false")),
    "gateway told nothing": gateway(""),
    "gateway by quota API": gateway("", "true"),
    "litellm": litellm,
    "openai": plain,
}


def measure(name, start, case):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "simulator.toml").write_text(SIMULATOR)
        simulator = Process(BAILIAN, "sim", "--listen", "127.0.0.1:0", "--config", folder / "simulator.toml")
        upstream, peer = simulator.url(), None
        try:
            started = start(folder, upstream)
            if started is None:
                return
            peer, url, send = started
            outcomes = asyncio.run(load(case, send, url))
            early, taken, throttled, lost = judged(upstream)
        finally:
            if peer:
                peer.stop()
            simulator.stop()
    answered = sorted(took for status, took, *_ in outcomes if status == 200)
    refused = sum(status == 429 for status, *_ in outcomes)
    other = len(outcomes) - len(answered) - refused
    p99 = answered[int(len(answered) * 0.99)] if answered else float("nan")
    print(
        f"| {case} | {name} | {len(outcomes)} | {len(answered)} | {early} | {throttled} | {refused} | {other} "
        f"| {lost} | {p99:.1f} |",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default=",".join(name for name in PEERS if " " not in name))
    parser.add_argument("--all", action="store_true", help="every way of telling the gateway, too")
    parser.add_argument("--cases", default="a,b")
    arguments = parser.parse_args()
    if not BAILIAN.exists():
        raise SystemExit("build the gateway first: cargo build --release")
    names = list(PEERS) if arguments.all else arguments.peers.split(",")
    print("| load | through | offered | answered | begun in the first minute | throttled | refused | failed | lost | p99 s |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for case in arguments.cases.split(","):
        for name in names:
            measure(name, PEERS[name], case)


if __name__ == "__main__":
    main()
