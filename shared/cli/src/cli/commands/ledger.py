"""`rapport ledger verify | prove | consistency | check | keygen | witness`."""

import asyncio
import getpass
from pathlib import Path
from time import time
from typing import Annotated

import typer

from cli.commands.options import Home, console
from cli.commands.where import stack_with_data, with_postgres
from cli.evidence import keys, told
from cli.evidence.keys import KeyFileError
from cli.evidence.watching import proofs_at, watch
from cli.evidence.witness import Alarm, StateError, Witness
from cli.stack.errors import StackError
from ledger import evidence
from ledger.checkpoints import CheckpointError, open_checkpoint
from ledger.entry import printable
from ledger.evidence import EvidenceError
from ledger.notes import COSIGNATURE, NOTE, NoteError, Signer, Verifier

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="rich",
    help="What oversight has on record, proven to somebody who trusts neither us nor our database.",
)  # fmt: skip

_KEYS_HELP = "A public key, or a file with some: the log's, and those of witnesses you know. May be given again."
Keys = Annotated[list[str], typer.Option("--key", help=_KEYS_HELP, metavar="KEY")]


_ALSO_HELP = "A public key beside those that sign now, or a file with some: after a rotation, the former one."
AlsoKeys = Annotated[list[str] | None, typer.Option("--key", help=_ALSO_HELP, metavar="KEY")]


@app.command()
def verify(
    since: Annotated[Path | None, typer.Option(help="A checkpoint that somebody kept: the ledger must continue it.")] = None,
    handoff: Annotated[str | None, typer.Option(help="Only the events of this handoff, or the event with this id.")] = None,
    outside: Annotated[Path | None, typer.Option(help="The folder with checkpoint and tiles. Default: oversight's.")] = None,
    key: AlsoKeys = None,
    home: Home = None,
) -> None:
    """Hold the whole ledger against what was signed, and what services say they have said against the ledger.

    Exit code 0: all good. 1: something is not, and the first bad entry is named. 2: it could not be looked at. Services may be
    stopped; PostgreSQL may not.

    [bold]Examples[/bold]

        rapport ledger verify

        rapport ledger verify --since yesterday.checkpoint --outside /mnt/auditor/ledger

        rapport ledger verify --handoff 0190c4f0-0000-7000-8000-000000000000
    """
    words = [] if since is None else ["--since", str(since.absolute())]
    words += [] if handoff is None else ["--handoff", handoff]
    words += [] if outside is None else ["--outside", str(outside.absolute())]
    _asked_of_oversight(home, "verify", *words, *_also(key))


@app.command()
def prove(
    what: Annotated[str, typer.Argument(help="The id of a handoff, for all its events, or of one event.")],
    at_size: Annotated[
        int | None, typer.Option(min=1, help="Under the checkpoint of so many entries. Default: newest.")
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Under this one, such as the one that a witness keeps.")] = None,
    actor: Annotated[str | None, typer.Option(help="Who reads. Default: cli:<your name here>.")] = None,
    purpose: Annotated[str, typer.Option(help="What for, as a word such as court-order. It stays on the record.")] = "evidence",
    key: AlsoKeys = None,
    home: Home = None,
) -> None:
    """Print the proof that an event, or each event of a handoff, is in the ledger as it was recorded.

    The file holds what the events said, so whoever asks is put on the record. `rapport ledger check` needs nothing else.

    [bold]Examples[/bold]

        rapport ledger prove 0190c4f0-0000-7000-8000-000000000000 > proof.json

        rapport ledger prove 0190c4f0-0000-7000-8000-000000000000 --checkpoint witness/checkpoint > proof.json
    """
    if checkpoint and at_size:
        raise typer.BadParameter("choose one: --at-size or --checkpoint")
    words = [what, "--actor", actor or f"cli:{getpass.getuser()}", "--purpose", purpose]
    words += [] if at_size is None else ["--at-size", str(at_size)]
    words += [] if checkpoint is None else ["--checkpoint", str(checkpoint.absolute())]
    _asked_of_oversight(home, "prove", *words, *_also(key))


@app.command()
def consistency(
    old: Annotated[Path, typer.Argument(help="A file with an older checkpoint, as somebody kept it.")],
    key: AlsoKeys = None,
    home: Home = None,
) -> None:
    """Print the proof that the newest checkpoint continues an older one: nothing before it was changed or taken away.

    [bold]Example[/bold]

        rapport ledger consistency yesterday.checkpoint > grown.json
    """
    _asked_of_oversight(home, "consistency", str(old.absolute()), *_also(key))


@app.command()
def check(
    proof: Annotated[Path, typer.Argument(help="What `prove` or `consistency` printed, or a checkpoint; - reads a pipe.")],
    key: Keys,
    body: Annotated[bool, typer.Option("--body", help="Also print what each event said.")] = False,
) -> None:
    """Check a proof with nothing but a public key: no server, no network.

    Exit code 0: all of it is proven. 1: something is not, and the first such entry is named. 2: a proof or key cannot be read.

    [bold]Examples[/bold]

        rapport ledger check proof.json --key .rapport/demo/ledger/public.key

        rapport ledger check proof.json --key log.key --key witness.key --body
    """
    verifiers, text = _verifiers(key), _text_of(proof)
    try:
        if text.lstrip()[:1] in ("{", "["):
            lines = list(told.lines_of(evidence.check(text, verifiers), body=body))
        else:
            lines = list(told.lines_of_checkpoint(open_checkpoint(text, verifiers)))
    except (EvidenceError, NoteError, CheckpointError) as error:
        console.print(f"NOT PROVEN: {printable(str(error))}", style="red", markup=False)
        raise typer.Exit(1) from None
    for line in lines:
        console.print(line, markup=False)


@app.command()
def keygen(
    name: Annotated[str, typer.Argument(help="Whose key: for a log its origin, such as clinic.example/ledger.")],
    out: Annotated[Path | None, typer.Option(help="For the private key. Default: NAME.key, after the last slash.")] = None,
    witness: Annotated[bool, typer.Option("--witness", help="A key that countersigns: for `rapport ledger witness`.")] = False,
) -> None:
    """Make a key pair: the private key goes into a file that only you can read, the public one is printed.

    [bold]Examples[/bold]

        rapport ledger keygen clinic.example/ledger --out signing.key > public.key

        rapport ledger keygen witness.example --witness --out witness.key > witness.pub
    """
    path = out or Path(f"{name.rpartition('/')[2]}.key")
    try:
        public = keys.keep_new(name, path, witness=witness)
    except NoteError as error:
        raise typer.BadParameter(str(error), param_hint="NAME") from None
    except FileExistsError:
        raise typer.BadParameter(f"{path} is there already, and a key is never overwritten", param_hint="--out") from None
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be written: {error.strerror}", param_hint="--out") from None
    typer.echo(f"private key: {path}", err=True)
    typer.echo(str(public))


@app.command()
def tamper(
    kind: Annotated[str, typer.Option(help="What is done: flip, delete, insert, reorder, truncate.")],
    seed: Annotated[int, typer.Option(help="The same seed does the same to the same ledger.")] = 1,
    home: Home = None,
) -> None:
    """Spoil the ledger of a demo as its database's owner could, so that verify finds it. Refused for all data but a demo's.

    [bold]Example[/bold]

        rapport demo --keep

        rapport ledger tamper --kind flip

        rapport ledger verify
    """
    stack = stack_with_data(home)
    if not stack.is_demo:
        raise StackError(f"the data in {stack.home} is not a demo's: only what `rapport demo --keep` left may be spoilt")
    words = ("--kind", kind, "--seed", str(seed), "--demo-data")
    raise typer.Exit(with_postgres(stack).run("oversight", "ledger", "tamper", *words, role="owner"))


@app.command()
def erase(
    before: Annotated[str, typer.Option(help="What was recorded before this day or instant, such as 2020-11-23.")],
    reason: Annotated[str, typer.Option(help="Why, as a word. It stays on the record.")] = "retention",
    actor: Annotated[str | None, typer.Option(help="Who does it. Default: cli:<your name here>.")] = None,
    home: Home = None,
) -> None:
    """Erase bodies that need not be kept any longer: that they are is recorded first, and their entries stay provable.

    Exit code 1: it is not recorded yet, and nothing is erased; oversight must run. 2: asked wrongly, such as for bodies that
    are younger than OVERSIGHT_RETENTION, six years.

    [bold]Example[/bold]

        rapport ledger erase --before 2020-11-23
    """
    words = ("--before", before, "--reason", reason, "--actor", actor or f"cli:{getpass.getuser()}")
    raise typer.Exit(with_postgres(stack_with_data(home)).run("oversight", "ledger", "erase", *words, role="retention"))


@app.command()
def witness(
    log_key: Annotated[list[str], typer.Option("--log-key", help="The log's public key, or a file with it.", metavar="KEY")],
    key: Annotated[Path, typer.Option(help="The witness's own private key; keygen --witness makes one.")],
    sources: Annotated[
        list[str],
        typer.Option("--from", metavar="PLACE", help="A folder, Kafka's HOST:PORT, or oversight's URL; may be given again."),
    ],
    state: Annotated[Path, typer.Option(help="A folder of the witness's own, for what it cosigned last.")],
    proofs: Annotated[
        str | None,
        typer.Option(metavar="PLACE", help="A folder or URL with proofs of consistency. Default: the first --from."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Look once, and stop.")] = False,
) -> None:
    """Watch a ledger from outside, with a key of your own: countersign what continues the last checkpoint, or raise an alarm.

    Run it where the ledger's operators cannot reach it. What it cosigned lies in STATE/checkpoint, for everybody to take.

    Exit code 1: ALARM, the log signed two checkpoints that cannot both be true; both are kept. 2: it could not look.

    [bold]Examples[/bold]

        rapport ledger keygen witness.example --witness --out witness.key > witness.pub

        rapport ledger witness --log-key public.key --key witness.key --from /mnt/ledger --state ./witness

        rapport ledger witness --log-key log.key --key my.key --from kafka:9092 --proofs http://oversight:8080 --state .
    """
    log = _log_keys(log_key)
    proving = next(filter(None, map(proofs_at, [proofs] if proofs else sources)), None)
    if proving is None:
        raise typer.BadParameter("Kafka has no proofs: name a folder or oversight's URL", param_hint="--proofs")
    watcher = Witness(log, _witness_key(key), proving, state, time)
    try:
        with watcher.on_duty():
            looked = asyncio.run(watch(watcher, sources, _say, once=once))
    except Alarm as alarm:
        console.print(f"ALARM: {alarm}", style="bold red", markup=False)
        raise typer.Exit(1) from None
    except (StateError, OSError) as error:
        _say(str(error))
        raise typer.Exit(2) from None
    raise typer.Exit(0 if looked or not once else 2)


def _log_keys(words: list[str]) -> list[Verifier]:
    log = _verifiers(words, "--log-key")
    if len({verifier.name for verifier in log}) > 1 or any(verifier.kind != NOTE for verifier in log):
        raise typer.BadParameter("these are not the keys of one log", param_hint="--log-key")
    return log


def _witness_key(path: Path) -> Signer:
    try:
        signer = keys.signer_in(path)
    except KeyFileError as error:
        raise typer.BadParameter(str(error), param_hint="--key") from None
    if signer.kind != COSIGNATURE:
        raise typer.BadParameter("this key signs notes: make one with keygen --witness", param_hint="--key")
    return signer


def _say(text: str) -> None:
    console.print(printable(text), markup=False)


def _verifiers(words: list[str], option: str = "--key") -> list[Verifier]:
    try:
        return keys.verifiers_of(words)
    except KeyFileError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _text_of(path: Path) -> str:
    """Byte for byte: with other ends of lines it would be another text than was signed."""
    try:
        return (typer.get_binary_stream("stdin").read() if str(path) == "-" else path.read_bytes()).decode()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise typer.BadParameter(f"{path} cannot be read: {why}", param_hint="PROOF") from None


def _asked_of_oversight(home: Path | None, *words: str) -> None:
    raise typer.Exit(with_postgres(stack_with_data(home)).run("oversight", "ledger", *words))


def _also(words: list[str] | None) -> list[str]:
    return [word for verifier in _verifiers(words or []) for word in ("--key", str(verifier))]
