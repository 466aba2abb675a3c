"""The page of examples/server.py in a headless Chromium; where none is installed, test_server.py has its protocol."""

import wave

import numpy as np
import pytest

pytest.importorskip("aiohttp")
import browser
from live_server import FRAME, along_time, detector, emptied, example, serve

pytestmark = pytest.mark.skipif(browser.FOUND is None, reason="no Chromium is installed")

MADE = "live.frames.map(one => one.made)"
PICTURE = """(() => {
  const {width, height} = picture, {data} = picture.getContext("2d").getImageData(0, 0, width, height);
  let grey = 0, blue = 0;
  for (let k = 0; k < data.length; k += 4) {
    if (!data[k + 3]) continue;
    if (data[k] === 0x88 && data[k + 1] === 0x88) grey++;
    if (data[k + 2] > data[k] + 80) blue++;
  }
  return {grey, blue};
})()"""


@pytest.fixture(scope="module")
def server():
    return example()


def write_wav(path, sound, rate, channels=1):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((sound * 32767).astype("<i2").repeat(channels).tobytes())


def tone(seconds, rate, hertz=440):
    """In and out, four times a second."""
    t = np.arange(int(seconds * rate)) / rate
    return np.sin(2 * np.pi * hertz * t) * (np.sin(2 * np.pi * 4 * t) > 0) * 0.5


def answers(model, options, frames):
    """Those of a stream on its own, as the page keeps them."""
    stream = model.stream(**options)
    return [[float(stream.step(frame[None]).item())] for frame in frames]


def visit(server, model, main, *flags, rate=16_000, **options):
    """Run main(page, heard) in the page of a server; heard are the frames that came, by stream."""
    app = server.application(model, frame=FRAME, rate=rate, **options)

    async def run(client):
        batcher, heard = app[server.BATCHER], {}
        step = batcher.step

        def listened(id, x):
            heard.setdefault(id, []).append(np.array(x))
            return step(id, x)

        batcher.step = listened
        async with browser.browse(str(client.make_url("/")), *flags) as page:
            await page.until("sizes !== null")
            await main(page, heard)
            assert not page.errors
            await page.evaluate("live.stop()")
            await emptied(batcher.pool)

    serve(app, run, 120)


@pytest.mark.parametrize("rate, channels, error", [(16_000, 1, 1e-4), (44_100, 2, 0.03)])
def test_a_sound_file(server, tmp_path, rate, channels, error):
    """All of it arrives, at the model's rate; what is drawn is, bit for bit, what a stream gives for it."""
    model, options = detector()
    write_wav(tmp_path / "tone.wav", tone(1.3, rate), rate, channels)
    wanted = tone(1.3, 16_000)[: 40 * FRAME]

    async def main(page, heard):
        await page.choose("#file", tmp_path / "tone.wav")
        await page.until("live && live.over")
        (came,) = heard.values()
        assert np.abs(np.concatenate(came) - wanted).max() < error
        made = answers(model, options, came)
        assert await page.evaluate(MADE) == made
        await page.until(f"output.textContent === '{made[-1][0]:.3f}' && trip.textContent.includes('ms')")
        await page.until("by('load').textContent.includes('stream')")
        assert await page.evaluate("told.textContent") == ""
        found = await page.evaluate(PICTURE)
        assert found["grey"] > 500 and found["blue"] > 100

    visit(server, model, main, **options)


def test_the_microphone(server, tmp_path):
    """A microphone of 48 kHz at a model of 8 kHz: the tone arrives where it was; the answers are those of a stream."""
    model, options = along_time()
    write_wav(tmp_path / "tone.wav", tone(4, 48_000), 48_000)

    async def main(page, heard):
        await page.evaluate("microphone.click()")
        await page.until("live && live.frames.filter(one => one.made.length).length >= 30")
        await page.evaluate("by('stop').click()")
        made = [one for one in await page.evaluate(MADE) if one]
        (came,) = heard.values()
        assert made == answers(model, options, came[: len(made)])
        whole = np.concatenate(came[2:])
        spectrum = np.abs(np.fft.rfft(whole * np.hanning(len(whole))))
        assert abs(spectrum.argmax() * 8000 / len(whole) - 440) < 8
        assert np.abs(whole).max() > 0.05

    visit(server, model, main, f"--use-file-for-fake-audio-capture={tmp_path / 'tone.wav'}", rate=8000, **options)


def test_what_goes_wrong_is_told(server, tmp_path):
    """A file that is no sound, a frame that is refused, frames that come too fast, a server that ends the stream."""
    model, options = along_time()
    (tmp_path / "text.wav").write_text("no sound")

    async def main(page, heard):
        await page.choose("#file", tmp_path / "text.wav")
        await page.until("told.textContent.includes('decode') && live.over")
        await page.evaluate(
            "start(async run => { run.frame = new Float32Array(100); run.hear(new Float32Array(100)); })"
        )
        await page.until(f"told.textContent.includes('expected steps of {FRAME} float32')")
        await page.evaluate("live.frame = new Float32Array(512); live.hear(new Float32Array(512))")
        await page.until("live.frames.length === 2 && live.frames[1].made.length === 1")
        await page.evaluate("for (let k = 0; k < 70; k++) live.hear(new Float32Array(512))")
        assert await page.evaluate("told.textContent") == "the server is too slow: 6 frames lost"
        await page.until("live.frames.length === 66 && live.frames[65].made.length === 1 && !live.waiting.length")
        await page.evaluate(f"live.socket.send(new Uint8Array({4 * FRAME * (server.MOST_STEPS + 1)}))")
        await page.until("told.textContent.includes('the server closed the stream') && live.over")

    visit(server, model, main, **options)
