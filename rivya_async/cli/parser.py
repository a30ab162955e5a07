"""The command line as data: every command, option and example that `rivya --help` shows."""

from __future__ import annotations

import argparse
import json
import math
import sys
from typing import Any, Final, NoReturn

from . import batch_parser, exit_codes, worker_parser

DESCRIPTION: Final = "Images, video, audio and chat from the Rivya API."

EPILOG: Final = f"""\
RIVYA_API_KEY holds the API key, RIVYA_BASE_URL another origin than https://rivya.ai.
With --json, stdout holds one JSON object per line and nothing else; what went wrong
is a line {{"error": {{...}}}} on stderr. Try any command with --sandbox: no account needed.

{exit_codes.table()}
"""

EXAMPLES: Final = {
    "demo": "rivya demo\nrivya demo -o out --speed 60",
    "generate": (
        'rivya generate z-image "A red kite over the dunes" -p aspect_ratio=16:9 -o out\n'
        'rivya generate z-image "A cat" -n 4 --json --sandbox\n'
        'rivya generate kling-3-0 "A red kite" -p duration=10 --dry-run\n'
        'rivya generate nano-banana-2 "The same at night" --reference kite.png\n'
        'rivya generate elevenlabs-dialogue-v3 -p \'dialogue=[{"voice": "Adam", "text": "Hello."}]\''
    ),
    "wait": "rivya wait task_ab12 -o out\nrivya wait task_ab12 task_cd34 --timeout 600",
    "download": (
        "rivya download task_ab12 -o out\n"
        "rivya download task_ab12 task_cd34 -o out --name '{model}-{task_id}-{index}{ext}'"
    ),
    "batch": batch_parser.EXAMPLES,
    "worker": worker_parser.EXAMPLES,
    "chat": (
        'rivya chat gpt-5-2-chat "Three names for a kite shop"\n'
        'rivya chat gpt-5-2-chat "And in French?" --session ses_ab12\n'
        "rivya chat sessions\nrivya chat sessions ses_ab12"
    ),
    "files": (
        "rivya files upload kite.png\nrivya files upload a.mp4 b.mp4 --model wan-2-6 --json\nrivya files show file_ab12"
    ),
    "webhooks": (
        "rivya webhooks create https://hooks.example.org/rivya --event generation.succeeded\n"
        "rivya webhooks list\nrivya webhooks test whend_ab12\nrivya webhooks deliveries whend_ab12 --limit 5\n"
        "rivya webhooks update whend_ab12 --status disabled\nrivya webhooks events --json\n"
        "rivya webhooks sign --to http://127.0.0.1:8000/hook"
    ),
    "listen": (
        "rivya listen --port 8790\nrivya listen --port 8790 --forward http://127.0.0.1:8000/hooks/rivya\n"
        "rivya listen --sandbox"
    ),
    "models": (
        "rivya models --category video --takes image\nrivya models --max-credits 5 --search seed\n"
        "rivya models show z-image --sandbox"
    ),
    "credits": "rivya credits\nrivya credits --json",
    "openapi": "rivya openapi > rivya.json\nrivya openapi --sandbox",
    "sandbox": (
        "rivya sandbox\nrivya sandbox --port 8765 --speed 60 --seed 7\n"
        "rivya sandbox --faults faults.toml --state sandbox.db\n"
        "rivya sandbox --account team-b=500 --key main=revoked --key team-b=credits:read,generations:read"
    ),
}

ACTIONS: Final = ("list", "create", "show", "update", "delete", "rotate", "test", "deliveries", "events", "sign")
"""Of `rivya webhooks`."""


class Parser(argparse.ArgumentParser):
    """A parser that also complains in JSON where JSON was asked for."""

    def error(self, message: str) -> NoReturn:
        """Exit with the code for wrong usage."""
        if "--json" not in sys.argv:
            super().error(message)
        told = {"type": "UsageError", "message": message, "exit_code": int(exit_codes.ExitCode.USAGE)}
        self.exit(exit_codes.ExitCode.USAGE, json.dumps({"error": told}) + "\n")


def build_parser() -> Parser:
    """The parser of the whole command line."""
    from .. import __version__

    parser = Parser(prog="rivya", description=DESCRIPTION, epilog=EPILOG, formatter_class=_Formatter)
    parser.add_argument("--version", action="version", version=f"rivya-async {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    buying = (_demo, _generate, _batch, _worker, _wait, _download, _chat)
    for add in (*buying, _files, _webhooks, _listen, _models, _credits, _openapi, _sandbox):
        add(commands)
    return parser


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps our line ends, and keeps help in one column that is as wide as our options."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)


def _command(commands: Any, name: str, summary: str, more: str = "", *, has_sandbox: bool = True) -> Parser:
    description = f"{summary[0].upper()}{summary[1:]}." + (f"\n\n{more}" if more else "")
    examples = "\n".join(f"  {line}" for line in EXAMPLES[name].splitlines())
    parser: Parser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"examples:\n{examples}\n\n{exit_codes.table()}",
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per line on stdout, nothing else")
    if has_sandbox:
        parser.add_argument(
            "--sandbox", action="store_true", help="run against an embedded sandbox: no account, nothing is bought"
        )
    return parser


def _demo(commands: Any) -> None:
    parser = _command(
        commands,
        "demo",
        "make a mixed batch of pictures, films and sounds, and a contact sheet of them",
        "Runs against an embedded sandbox, in seconds. --live buys the batch at the real service instead.\n"
        "--json: a line for each job as it ends, then one with the folder, the page and the cost.",
        has_sandbox=False,
    )
    parser.add_argument("-o", "--output", metavar="DIR", default="rivya-demo", help="folder (default: rivya-demo)")
    parser.add_argument("--live", action="store_true", help="buy at the real service, with RIVYA_API_KEY")
    parser.add_argument("--speed", metavar="X", type=float, help="how many times faster than life the sandbox works")
    parser.add_argument("--seed", metavar="N", type=int, help="what the sandbox's dice follow from")


def _generate(commands: Any) -> None:
    parser = _command(
        commands,
        "generate",
        "buy a job, or many alike, and wait for the result",
        "A job that does not fit the catalogue is refused, with every problem, before anything is bought.\n"
        "Says first what the catalogue says it will cost.\n"
        "Ctrl-C leaves bought jobs running and says how to come back to them.\n"
        "--json: a line for each job as it ends, with its files if they were downloaded.",
    )
    parser.add_argument("model", metavar="MODEL", help="id of a model: rivya models lists them")
    parser.add_argument("prompt", metavar="PROMPT", nargs="?", help="what to make")
    parser.add_argument(
        "-p", "--param", metavar="KEY=VALUE", action="append", default=[], help="a param of the model (repeatable)"
    )
    parser.add_argument(
        "--reference",
        metavar="PATH",
        action="append",
        default=[],
        help="a file to refer to, uploaded once (repeatable)",
    )
    parser.add_argument(
        "--no-check", dest="check", action="store_false", help="buy it whatever the catalogue says of the job"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="check the job and say what it will cost, but buy nothing"
    )
    parser.add_argument("-n", "--number", metavar="N", type=_count, default=1, help="buy N such jobs at once")
    _add_output(parser)
    _add_timeout(parser)
    parser.add_argument(
        "--key",
        metavar="KEY",
        help="idempotency key: the same key repeats the same purchase; with -n it becomes KEY-1, KEY-2, ...",
    )


def _batch(commands: Any) -> None:
    parser = _command(
        commands,
        "batch",
        "carry thousands of jobs from a file, and lose none",
        "Every purchase is written into a journal before it is sent: after any end, also kill -9, the same command\n"
        "goes on where it was and buys nothing twice. Ctrl-C stops gently (code 75: run it again), twice at once.\n"
        "--json: a line for each row as it ends or can go no further, then one with the counts.",
        has_sandbox=False,
    )
    batch_parser.add_actions(parser, _count)


def _worker(commands: Any) -> None:
    parser = _command(
        commands,
        "worker",
        "carry out what others have ordered, on as many machines as you like",
        "Takes orders of rivya batch run --broker, and those that your programs enqueue (rivya_async.workers). Every\n"
        "order is bought once, however often a worker dies; all workers keep the account's rate together. SIGTERM or\n"
        "Ctrl-C: nothing more is bought, and open waits are handed to the other workers.\n"
        "--json: the log on stderr as one JSON object per line; with --health, one object on stdout.",
        has_sandbox=False,
    )
    worker_parser.add_options(parser, _count)


def _wait(commands: Any) -> None:
    parser = _command(
        commands,
        "wait",
        "wait for jobs that were bought before",
        "An embedded sandbox (--sandbox) begins empty and knows no task id.\n--json: a line for each job as it ends.",
    )
    parser.add_argument("task_ids", metavar="TASK_ID", nargs="+", help="id of a bought job")
    _add_output(parser)
    _add_timeout(parser)


def _download(commands: Any) -> None:
    parser = _command(
        commands,
        "download",
        "save the files of jobs that have ended, or of links",
        "What breaks off goes on where it ended, also when the command is started again; a link that has expired is\n"
        "read again. The API key is sent to no host but the service's own.\n"
        '--json: a line for each: {"id": "...", "files": [...]}, with "url" in the place of "id" for a link.',
    )
    parser.add_argument("sources", metavar="TASK_ID|URL", nargs="+", help="id of an ended job, or a link")
    parser.add_argument("-o", "--output", metavar="DIR", default=".", help="folder, made if need be (default: here)")
    parser.add_argument(
        "--name", metavar="TEMPLATE", help="names, made of {task_id}, {model}, {index}, {ext} (default: {task_id}{ext})"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.add_argument("--max-bytes", metavar="N", type=_count, help="refuse files that are longer")


def _chat(commands: Any) -> None:
    parser = _command(
        commands,
        "chat",
        "ask a chat model, or list what was asked",
        "The answer is shown as it comes; what it cost and how to go on is told on stderr.\n"
        "An option that the model does not have is refused before anything is bought.\n"
        "rivya chat sessions lists the conversations, rivya chat sessions ID shows one.\n"
        "--json: a line with the whole answer, or one for each conversation.",
    )
    parser.add_argument("model", metavar="MODEL", help="id of a chat model, or the word sessions")
    parser.add_argument("message", metavar="MESSAGE", nargs="?", help="what to say; after sessions the id of one")
    parser.add_argument("--session", metavar="ID", help="go on with this conversation")
    parser.add_argument(
        "--attach", metavar="FILE_ID", action="append", default=[], help="an uploaded picture (repeatable)"
    )
    parser.add_argument("--web-search", action="store_true", help="let the model search the web")
    parser.add_argument("--reasoning-effort", metavar="X", help="such as minimal, low, medium or high")
    parser.add_argument("--no-stream", action="store_true", help="show the answer when it is whole")
    parser.add_argument("--key", metavar="KEY", help="idempotency key: the same key repeats the same purchase")


def _files(commands: Any) -> None:
    parser = _command(
        commands,
        "files",
        "upload what jobs refer to, or show one file",
        "What a file is, is found from its content; it is held to the limits of --model, else to the documented ones,\n"
        "before anything is sent. An upload costs nothing.\n"
        "--json: a line for each file; its url, kind and duration_token are what a job for it needs.",
    )
    parser.add_argument("action", choices=("upload", "show"), help="what to do")
    parser.add_argument("names", metavar="PATH|ID", nargs="+", help="files of this machine, or ids of uploaded ones")
    parser.add_argument("--kind", metavar="K", choices=("image", "video", "audio"), help="image, video or audio")
    parser.add_argument("--model", metavar="M", help="id of the model that they are for")


def _webhooks(commands: Any) -> None:
    parser = _command(
        commands,
        "webhooks",
        "have ended jobs told to a URL, and see what was told",
        "ACTION is list, create, show, update, delete, rotate, test, deliveries, events or sign.\n"
        "create takes the URL, list, events and sign take nothing, the others the id of an endpoint.\n"
        "sign makes a signed delivery of an invented event by hand: it needs no account, and shows what it made,\n"
        "or posts it to a receiver of yours. RIVYA_WEBHOOK_SECRET holds the signing secret.\n"
        "The signing secret is shown by create and rotate only. A test that the receiver does not take ends with 6.\n"
        "--json: a line for each endpoint, delivery or event.",
    )
    parser.add_argument("action", metavar="ACTION", choices=ACTIONS, help="what to do")
    parser.add_argument("id", metavar="ID|URL", nargs="?", help="id of an endpoint; for create the URL")
    parser.add_argument("--name", metavar="NAME", help="what to call it (create, update)")
    parser.add_argument("--url", metavar="URL", help="where to tell it from now on (update)")
    parser.add_argument(
        "--event",
        metavar="TYPE",
        action="append",
        default=[],
        help="tell only of these (create, update, sign; repeatable)",
    )
    parser.add_argument("--status", metavar="S", help="active or disabled (update)")
    parser.add_argument("--limit", metavar="N", type=_count, help="at most N (list, deliveries, events)")
    parser.add_argument("--to", metavar="URL", help="post it there (sign)")
    parser.add_argument("--secret", metavar="S", help="signing secret; - reads it from stdin (sign)")


def _listen(commands: Any) -> None:
    parser = _command(
        commands,
        "listen",
        "hear webhooks on this machine, show them, and pass them on",
        "For development: every delivery is checked and shown as it comes, until Ctrl-C.\n"
        "RIVYA_WEBHOOK_SECRET holds the signing secret. The service reaches this machine through a tunnel of yours,\n"
        "rivya sandbox --allow-local-webhooks directly. What is not signed is refused, and told on stderr.\n"
        "--forward posts what is signed to another receiver, as it came, and takes what that one takes.\n"
        "--sandbox starts a sandbox that delivers here, begins with a test event, and prints how to buy from it.\n"
        '--json: {"url": "..."} once it listens, then a line for each event.',
    )
    parser.add_argument("--port", metavar="PORT", type=_port, default=0, help="port (default: any that is free)")
    parser.add_argument("--secret", metavar="S", help="signing secret; - reads it from stdin")
    parser.add_argument("--forward", metavar="URL", help="pass on what is signed to this receiver")


def _models(commands: Any) -> None:
    parser = _command(
        commands,
        "models",
        "list the models, or show one's params, limits and price",
        "No API key is needed.\n--json: a line for each model.",
    )
    parser.add_argument("model", metavar="ID", nargs="*", help="show this model: ID, or show ID")
    parser.add_argument("--category", metavar="C", help="only image, video, audio or chat")
    parser.add_argument("--takes", choices=("image", "video", "audio"), help="only those that may refer to such a file")
    parser.add_argument("--max-credits", metavar="N", type=float, help="only those that cost at most N to begin with")
    parser.add_argument("--search", metavar="TEXT", help="only those with these words in id, name or params")
    parser.add_argument("--available", action="store_true", help="only those that can be bought now")


def _credits(commands: Any) -> None:
    _command(commands, "credits", "show the balance", '--json: {"current_credits": 1234}')


def _openapi(commands: Any) -> None:
    _command(
        commands,
        "openapi",
        "show the service's OpenAPI document",
        "No API key is needed.\n--json: the document in one line.",
    )


def _sandbox(commands: Any) -> None:
    parser = _command(
        commands,
        "sandbox",
        "serve the whole API on this machine until Ctrl-C",
        "Prints RIVYA_API_KEY and RIVYA_BASE_URL as two export lines for the shell of its users.\n"
        '--json: {"api_key": "...", "base_url": "..."}, once it listens, and "keys", if more were asked for.',
        has_sandbox=False,
    )
    parser.add_argument("--host", metavar="HOST", default="127.0.0.1", help="address to listen on (default: loopback)")
    parser.add_argument("--port", metavar="PORT", type=_port, default=0, help="port (default: any that is free)")
    parser.add_argument("--speed", metavar="X", type=float, help="how many times faster than life jobs run")
    parser.add_argument("--seed", metavar="N", type=int, help="what keys, ids, durations and pictures follow from")
    parser.add_argument("--credits", metavar="N", type=int, help="credits of the account")
    parser.add_argument(
        "--allow-local-webhooks", action="store_true", help="let webhooks be plain http and on this machine"
    )
    parser.add_argument("--link-lifetime", metavar="S", type=_seconds, help="links of results expire after S seconds")
    parser.add_argument("--rate-limit", metavar="N", type=_count, help="requests per key and window (default: any)")
    parser.add_argument("--rate-window", metavar="S", type=_seconds, help="length of a window (default: 60)")
    parser.add_argument("--faults", metavar="FILE", help="faults in force, as tables [[fault]] of a TOML file")
    parser.add_argument("--state", metavar="FILE", help="keep jobs, credits, files, keys and all else over a restart")
    parser.add_argument(
        "--account",
        metavar="NAME=N",
        type=_account,
        action="append",
        default=[],
        help="another account with N credits and a key of its own (repeatable)",
    )
    parser.add_argument(
        "--key",
        metavar="NAME=WHAT",
        type=_key_of,
        action="append",
        default=[],
        help="another key of an account (main, or one that --account names): revoked, expired, or scopes with commas",
    )


def _add_output(parser: Parser) -> None:
    parser.add_argument("-o", "--output", metavar="DIR", help="download the files into this folder")


def _add_timeout(parser: Parser) -> None:
    parser.add_argument(
        "--timeout", metavar="S", type=_seconds, help="stop waiting after S seconds (default: 1800); jobs go on"
    )


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _account(text: str) -> tuple[str, int]:
    name, found, number = text.partition("=")
    if not (name and found and number.isascii() and number.isdecimal()):
        raise argparse.ArgumentTypeError("must be NAME=CREDITS, such as team-b=500")
    return name, int(number)


def _key_of(text: str) -> tuple[str, str]:
    name, _, what = text.partition("=")
    if not (name and what):
        raise argparse.ArgumentTypeError("must be NAME=WHAT, such as main=revoked or main=credits:read,files:read")
    return name, what


def _seconds(text: str) -> float:
    seconds = float(text)
    if math.isnan(seconds) or seconds < 0:
        raise argparse.ArgumentTypeError("must be a number of seconds from 0 on")
    return seconds


def _port(text: str) -> int:
    port = int(text)
    if port not in range(65536):
        raise argparse.ArgumentTypeError("must be from 0 to 65535")
    return port
