"""`make demo`: the main job on real data, from an empty folder to downloaded results, with the time of each part."""

from __future__ import annotations

import argparse
import importlib
import inspect
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from atelier_client.client import Client
from atelier_client.connection import Object
from atelier_client.demo_server import DemoServer
from atelier_client.errors import ClientError
from atelier_client.progress import ProgressLine, duration

OUTPUT = Path("demo-output")
SEED = 2025
FAMILIES_SECONDS = 120
# prose that lies on every machine with Python: what these modules say about themselves
MODULES = """
    argparse collections datetime decimal difflib email.message enum fractions inspect json logging
    mailbox optparse pathlib pydoc random statistics string subprocess tarfile threading typing
    unittest.case unittest.mock urllib.request zipfile
""".split()


class Demo:
    def __init__(self, client: Client, timings: dict[str, float], steps: int | None) -> None:
        self.client = client
        self.timings = timings
        self.steps = steps

    def run(self) -> list[Path]:
        """Returns the files that were made."""
        with part(self.timings, "upload and check data"):
            docs = self._dataset("Standard library", [write_docs(OUTPUT)])
            digits = self._dataset("Digits", sample="digits")
            self._dataset("Python documentation", sample="python-docs")
        families = self._families("transformer_lm", "vae")
        trained = {}
        for family, data in (("transformer_lm", docs), ("vae", digits)):
            with part(self.timings, f"train {family}"):
                trained[family] = self._train(families[family], data)
        made = []
        for family, model_id in trained.items():
            with part(self.timings, f"generate with {family}"):
                job = self._generate(families[family], model_id)
            with part(self.timings, f"download from {family}"):
                made += self._download(job, family)
        return made

    def _dataset(self, name: str, paths: list[Path] | None = None, sample: str = "") -> Object:
        line = ProgressLine(name, sys.stdout)
        line.show(None, "uploading" if paths else f"sample {sample}", "uploading")
        made = self.client.datasets.add(paths or (), sample=sample or None, name=name)
        made = self.client.datasets.wait(made["id"], timeout=120, on_progress=line.dataset)
        line.end()
        if made["state"] != "ready":
            raise ClientError(f"dataset {name}: {made['state']}: {made.get('problems')}")
        return made

    def _families(self, *names: str) -> dict[str, Object]:
        """A worker announces its families some seconds after the server is ready."""
        deadline = time.monotonic() + FAMILIES_SECONDS
        while time.monotonic() < deadline:
            found: dict[str, Object] = {
                family["name"]: family for family in self.client.families.list()
            }
            if all(name in found and found[name]["online"] for name in names):
                return found
            time.sleep(0.3)
        raise ClientError(f"no worker offers {' and '.join(names)}")

    def _train(self, family: Object, data: Object) -> str:
        example = family["actions"]["train"]["example"]
        if self.steps:
            example |= {"steps": self.steps}
        job = self.client.jobs.submit(
            "train", example, family=family["name"], dataset_id=data["id"], seed=SEED
        )
        ended = self._watch(f"train {family['name']}", job)
        return str(ended["result"]["model_id"])

    def _generate(self, family: Object, model_id: str) -> Object:
        example = family["actions"]["generate"]["example"]
        job = self.client.jobs.submit("generate", example, model_id=model_id, seed=SEED)
        return self._watch(f"generate {family['name']}", job)

    def _watch(self, label: str, job: Object) -> Object:
        line = ProgressLine(label, sys.stdout)
        ended = self.client.jobs.wait(job["id"], line.job)
        line.end()
        if ended["state"] != "succeeded":
            raise ClientError(f"{label}: {ended['state']}: {ended['error']}")
        return ended

    def _download(self, job: Object, family: str) -> list[Path]:
        folder = OUTPUT / family
        folder.mkdir(parents=True, exist_ok=True)
        artifacts = job["result"]["artifacts"]
        return [self.client.artifacts.download(artifact["id"], folder) for artifact in artifacts]


def main() -> int:
    parser = argparse.ArgumentParser(description="Show Atelier's main job on real data.")
    parser.add_argument("--steps", type=int, help="of each training, instead of the examples'")
    steps = parser.parse_args().steps
    OUTPUT.mkdir(exist_ok=True)
    started = time.monotonic()
    timings: dict[str, float] = {}
    log = OUTPUT / "server.log"
    try:
        with DemoServer(log) as server:
            timings["start the server"] = time.monotonic() - started
            say(f"Atelier runs at {server.url}; its log is {log}")
            with server.new_client("demo") as client:
                made = Demo(client, timings, steps).run()
            stopping = time.monotonic()
        timings["stop the server"] = time.monotonic() - stopping
    except (ClientError, OSError, KeyboardInterrupt) as error:
        words = str(error) or "interrupted"
        say(f"\nThe demo failed: {words}\nWhat the server said: {log.resolve()}")
        return 1
    summarise(made, timings, time.monotonic() - started)
    return 0


def summarise(made: list[Path], timings: dict[str, float], seconds: float) -> None:
    say("\nMade:")
    for path in made:
        say(f"  {path.resolve()}  ({path.stat().st_size} bytes)")
    text = next((path for path in made if path.suffix == ".txt"), None)
    if text:
        first = text.read_text(errors="replace")[:300]
        say("\nThe first text begins:\n" + "\n".join(f"  | {line}" for line in first.splitlines()))
    say("\nTime:")
    for name, value in timings.items():
        say(f"  {name:<28} {value:7.1f} s")
    say(f"  {'altogether':<28} {seconds:7.1f} s ({duration(seconds)})")
    say("\nEverything is stopped. `make up` starts a server that stays.")


@contextmanager
def part(timings: dict[str, float], name: str) -> Iterator[None]:
    started = time.monotonic()
    try:
        yield
    finally:
        timings[name] = time.monotonic() - started


def write_docs(folder: Path) -> Path:
    """A real text file to upload: the documentation strings of a part of the standard library."""
    path = folder / "standard-library.txt"
    path.write_text("\n\n".join(text for name in MODULES for text in _docs_of(name)))
    return path


def _docs_of(module_name: str) -> Iterator[str]:
    module = importlib.import_module(module_name)
    for thing in (module, *vars(module).values()):
        own = thing is module or getattr(thing, "__module__", None) == module_name
        if not own:
            continue
        members = vars(thing).values() if inspect.isclass(thing) else ()
        yield from filter(None, (inspect.getdoc(each) for each in (thing, *members) if _has(each)))


def _has(thing: object) -> bool:
    return inspect.ismodule(thing) or inspect.isclass(thing) or inspect.isroutine(thing)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
