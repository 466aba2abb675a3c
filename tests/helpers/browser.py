"""A headless Chromium, where there is one, over its DevTools protocol: loads a page, evaluates, chooses files."""

import asyncio
import contextlib
import itertools
import shutil
import subprocess
import tempfile
from pathlib import Path

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
FOUND = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--mute-audio",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0",
    "--autoplay-policy=no-user-gesture-required", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
)  # fmt: skip


class Page:
    """A page that is open. What it throws and logs as an error is kept in `errors`."""

    def __init__(self, socket):
        self._socket, self._ids, self._replies, self.errors = socket, itertools.count(1), {}, []

    async def listen(self):
        async for message in self._socket:
            told = message.json()
            if "id" in told:
                self._replies.pop(told["id"]).set_result(told)
            elif told["method"] == "Runtime.exceptionThrown":
                self.errors.append(told["params"]["exceptionDetails"])
            elif told["method"] == "Log.entryAdded" and told["params"]["entry"]["level"] == "error":
                self.errors.append(told["params"]["entry"])

    async def call(self, method, **params):
        number = next(self._ids)
        reply = self._replies[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        told = await asyncio.wait_for(reply, 60)
        assert "error" not in told, told
        return told["result"]

    async def evaluate(self, expression):
        """Its value, as JSON has it; promises are waited for."""
        made = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in made, made
        return made["result"].get("value")

    async def until(self, expression, seconds=60):
        for _ in range(int(seconds / 0.05)):
            if await self.evaluate(expression):
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{expression}: not so after {seconds} seconds; {self.errors}")

    async def choose(self, selector, path):
        """Give a file to an input."""
        root = await self.call("DOM.getDocument")
        found = await self.call("DOM.querySelector", nodeId=root["root"]["nodeId"], selector=selector)
        await self.call("DOM.setFileInputFiles", nodeId=found["nodeId"], files=[str(path)])


@contextlib.asynccontextmanager
async def browse(url, *flags):
    """A Page at an address, in a browser and a profile of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [FOUND, *FLAGS, *flags, f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port = await _port(Path(profile) / "DevToolsActivePort", process)
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json") as response:
                    tabs = await response.json(content_type=None)
                address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
                async with session.ws_connect(address, max_msg_size=0) as socket:
                    page = Page(socket)
                    listening = asyncio.create_task(page.listen())
                    for domain in ("Runtime", "Log", "Page", "DOM"):
                        await page.call(f"{domain}.enable")
                    await page.call("Page.navigate", url=url)
                    await page.until("document.readyState === 'complete' && location.href !== 'about:blank'")
                    yield page
                    listening.cancel()
        finally:
            process.terminate()
            try:
                await asyncio.to_thread(process.wait, 10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


async def _port(file, process):
    for _ in range(600):
        if file.exists() and "\n" in (text := file.read_text()):
            return int(text.split("\n")[0])
        assert process.poll() is None, f"{FOUND}: it has ended"
        await asyncio.sleep(0.1)
    raise AssertionError(f"{FOUND}: expected a port within a minute")
