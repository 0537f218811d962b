"""`rapport ledger check | keygen`."""

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.options import console
from cli.evidence import keys, told
from cli.evidence.keys import KeyFileError
from ledger import evidence
from ledger.checkpoints import CheckpointError, open_checkpoint
from ledger.evidence import EvidenceError
from ledger.notes import NoteError, Verifier

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="rich",
    help="What oversight has on record, proven to somebody who trusts neither us nor our database.",
)  # fmt: skip

_KEYS_HELP = "A public key, or a file with some: the log's, and those of witnesses you know. May be given again."
Keys = Annotated[list[str], typer.Option("--key", help=_KEYS_HELP, metavar="KEY")]


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
        console.print(f"NOT PROVEN: {told.printable(str(error))}", style="red", markup=False)
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


def _verifiers(words: list[str]) -> list[Verifier]:
    try:
        return keys.verifiers_of(words)
    except KeyFileError as error:
        raise typer.BadParameter(str(error), param_hint="--key") from None


def _text_of(path: Path) -> str:
    """Byte for byte: with other ends of lines it would be another text than was signed."""
    try:
        return (typer.get_binary_stream("stdin").read() if str(path) == "-" else path.read_bytes()).decode()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise typer.BadParameter(f"{path} cannot be read: {why}", param_hint="PROOF") from None
