"""`memsync demo`"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Final

import click

from memstore.errors import MemsyncError
from memsync import render
from memsync.invocation import Invocation
from memsync.verb import verb

HOME: Final = "assistant"
"""The folder of the first machine, beneath the demo's temporary folder."""
DRIVE: Final = "drive"
SECOND: Final = "new-machine"

_RULES: Final = "Be kind.\nAnswer the question that was asked.\nSay what you do not know.\n"
_ARCHITECTURE: Final = (
    "The assistant reads Core/ first, then what Meta/ points to.\n"
    "State/session.json says where the last chat stopped.\n"
    "Index/notes.vec finds notes by meaning; it is rebuilt every night.\n"
)
_WRONG: Final = "The assistant is a large language model.\n"
_SESSION: Final = '{\n  "chat": "GPT Memory Build",\n  "turns": 12,\n  "mood": "curious"\n}\n'
_PLAN: Final = "1. Name the folders.\n2. Write the rules.\n3. Rest.\n"


class DemoStopped(MemsyncError):
    """A command of the demo failed; it fails with that command's exit code."""

    code = "demo_stopped"

    def __init__(self, line: str, exit_code: int, said: str) -> None:
        super().__init__(
            f"the demo stopped: '{line}' ended with exit code {exit_code}: {said}",
            hint="'memsync demo --keep' leaves the folder to look at",
        )
        self.exit_code = exit_code


@verb(
    "demo",
    examples=[
        ("memsync demo", "watch it; nothing of yours is touched, no network is used"),
        ("memsync demo --keep", "and leave the sample folder to play with"),
    ],
)
@click.option("--keep", is_flag=True, help="Leave the sample folder where it is.")
def command(call: Invocation, *, keep: bool) -> int | None:
    """Show the main job on a sample memory folder.

    Saves, a mistake and its undoing, an archive, a push to a second folder and a clone: each command is
    printed as it runs, with its real output. It all happens in a temporary folder.
    """
    root = os.path.realpath(tempfile.mkdtemp(prefix="memsync-demo-"))
    session = _Session(root, quiet=call.json)
    try:
        _play(session)
    finally:
        if not keep:
            shutil.rmtree(root, ignore_errors=True)
    if call.json:
        call.answer({"folder": root, "kept": keep, "steps": session.steps})
        return None
    click.echo()
    if keep:
        click.echo(f"The sample folder is {os.path.join(root, HOME)}: cd there and go on playing.")
    else:
        click.echo(f"The sample folder {root} is removed again ('memsync demo --keep' leaves it).")
    activate = _activation()
    if activate:
        click.echo(f"memsync is not on your PATH yet: {activate}")
    click.echo("next: cd to your assistant's folder and type 'memsync init'")
    return None


def _activation() -> str:
    """The line that puts the virtual environment we run from on PATH; '' where none is needed."""
    if sys.prefix == sys.base_prefix or shutil.which("memsync"):
        return ""
    if os.name == "nt":
        return os.path.join(sys.prefix, "Scripts", "activate")
    place = os.path.join(sys.prefix, "bin", "activate")
    relative = os.path.relpath(place)
    return f". {shlex.quote(place if relative.startswith('..') else relative)}"


def _play(do: _Session) -> None:
    do.tell("A workspace: a folder with Data/ for the memory and .memsync/ for its history.")
    os.mkdir(os.path.join(do.root, HOME))
    do.run("init")
    do.tell("The assistant writes its first notes, a state file and an index.")
    do.write("Core/Rules.txt", _RULES)
    do.write("Meta/AI_Architecture.txt", _ARCHITECTURE)
    do.write("State/session.json", _SESSION)
    do.write("Plans/First_Week.txt", _PLAN)
    do.write("Index/notes.vec", bytes(range(256)) * 64)
    first = do.version(do.run("commit", "-m", "first notes", "--tag", "setup", "--chat", "GPT Memory Build"))
    do.tell("It appends a line, and says why.")
    do.write("Core/Rules.txt", "Name the note that an answer comes from.\n", append=True)
    do.run("commit", "-m", "answers name their notes", "--tag", "rules", "--tag", "llama")
    do.tell("Then it overwrites a good note with a poor one. The old text gets an archive reference (→).")
    do.write("Meta/AI_Architecture.txt", _WRONG)
    out = do.run("commit", "-m", "shorter", "--reason", "File replaced due to new summary")
    reference = do.found(r"→ (Archive/\S+)", out)
    do.run("log")
    do.run("diff", first, "Meta/AI_Architecture.txt")
    do.tell(
        "The old text comes back, by its archive reference or by a version. Nothing is overwritten unsaved."
    )
    do.run("restore", reference)
    do.write("Core/Rules.txt", "(half a thought, not committed)\n", append=True)
    do.run("restore", "Core/Rules.txt", "--at", first)
    do.tell("What is done with can be put away. It costs no space and is there when asked for.")
    do.run("archive", "Plans/First_Week.txt", "--reason", "done with it")
    do.run("ls", "Archive/")
    do.tell(
        "A second copy: a folder here, Google Drive with 'drive:'. What lies there can be read by anyone."
    )
    do.run("remote", "set", os.path.join("..", DRIVE))
    do.run("push")
    do.mirror()
    do.tell("A new machine gets everything, history included.")
    do.run("clone", DRIVE, SECOND, folder="")
    do.run("log", "-n", "2", folder=SECOND)
    do.run("verify", folder=SECOND)
    do.run("status")


class _Session:
    """Runs commands beneath `root`, printing each as a person would see it typed."""

    def __init__(self, root: str, *, quiet: bool) -> None:
        self.root = root
        self.quiet = quiet
        self.steps: list[dict[str, object]] = []
        """What `--json` answers: each command, its folder, exit code and output."""
        self._environ = {name: value for name, value in os.environ.items() if not name.startswith("MEMSYNC_")}
        # The user's own settings are not the demo's. Without its home Python may not find what is installed
        # there, so it is told where this process found everything.
        nowhere = os.path.join(root, "no-settings")
        self._environ |= dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "APPDATA"), nowhere)
        self._environ |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONIOENCODING": "utf-8"}
        if render.coloured() and not quiet:
            self._environ["FORCE_COLOR"] = "1"
        else:
            self._environ.pop("FORCE_COLOR", None)

    def tell(self, sentence: str) -> None:
        if not self.quiet:
            click.echo(f"\n{render.paint('# ' + sentence, 'dim')}")

    def write(self, path: str, content: str | bytes, *, append: bool = False) -> None:
        """Write a file of the first machine's `Data/`."""
        raw = content.encode() if isinstance(content, str) else content
        place = os.path.join(self.root, HOME, "Data", *path.split("/"))
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "ab" if append else "wb") as file:
            file.write(raw)
        if self.quiet:
            return
        if append and isinstance(content, str):
            self._type(HOME, f"echo {shlex.quote(content.rstrip())} >> Data/{path}")
        else:
            click.echo(render.paint(f"# writes Data/{path} ({render.size(len(raw))})", "dim"))

    def run(self, *arguments: str, folder: str = HOME) -> str:
        """Run a command in a folder of the demo and return its output. Raises `DemoStopped`."""
        line = shlex.join(["memsync", *(argument.replace(os.sep, "/") for argument in arguments)])
        if not self.quiet:
            self._type(folder, line)
        done = subprocess.run(
            [sys.executable, "-m", "memsync", *arguments],
            cwd=os.path.join(self.root, folder),
            env=self._environ | {"MEMSYNC_DEVICE": "laptop" if folder == HOME else SECOND},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        out, err = self._shorten(done.stdout), self._shorten(done.stderr)
        self.steps.append(
            {
                "command": line,
                "folder": folder or ".",
                "exit_code": done.returncode,
                "output": out,
                "errors": err,
            }
        )
        if not self.quiet:
            click.echo(out, nl=False)
            click.echo(err, nl=False, err=True)
        if done.returncode != 0:
            raise DemoStopped(line, done.returncode, " ".join((err or out).split()))
        return out

    def mirror(self) -> None:
        """List what a person sees in the remote folder."""
        if self.quiet:
            return
        click.echo(render.paint(f"# what a person sees in {DRIVE}/:", "dim"))
        for path in self._mirrored():
            click.echo(f"  {path}")

    def version(self, output: str) -> str:
        return self.found(r"^(?:\x1b\[\d+m)?([0-9a-f]{8,64})", output)

    def found(self, pattern: str, output: str) -> str:
        match = re.search(pattern, output, re.MULTILINE)
        if match is None:
            raise DemoStopped(str(self.steps[-1]["command"]), 1, "its output is not what it should be")
        return re.sub(r"\x1b\[\d+m.*", "", match[1])

    def _mirrored(self) -> Iterator[str]:
        top = os.path.join(self.root, DRIVE)
        for folder, folders, names in os.walk(top):
            folders[:] = sorted(name for name in folders if name != ".memsync")
            for name in sorted(names):
                yield os.path.relpath(os.path.join(folder, name), top).replace(os.sep, "/")

    def _type(self, folder: str, line: str) -> None:
        prompt = f"{folder or '~'} $"
        click.echo(f"\n{render.paint(prompt, 'green')} {render.paint(line, 'bold')}")

    def _shorten(self, text: str) -> str:
        for root in (self.root, self.root.replace(os.sep, "/")):
            text = text.replace(root, "…")
        return text
