"""How long a run is, how much is sent, and how much is broken: the CI form, the smoke, and the long form."""

from dataclasses import dataclass, replace

from cli.stack.names import ROLES


@dataclass(frozen=True)
class Form:
    """`outages` of the broker and `restarts` of PostgreSQL are given by how many seconds each is down.

    Afterwards everybody has `settle_within` seconds to come to rest; who says nothing new for `stuck_after` is stuck.
    """

    name: str
    seconds: float
    rate: float = 4.0
    bursts: int = 3
    burst: int = 40
    kills: int = 12
    freezes: int = 11
    freeze_for: tuple[float, float] = (5.0, 12.0)
    outages: tuple[float, ...] = (5.0, 43.0)
    restarts: tuple[float, ...] = (10.0, 3.0)
    terminations: int = 4
    joins: int = 2
    starves: int = 2
    stalls: int = 3
    poisons: int = 2
    settle_within: float = 85.0
    stuck_after: float = 35.0
    roles: tuple[str, ...] = ("run",)
    episodes_shown: int = 150


CI = Form("ci", 155.0)
SMOKE = Form(
    "smoke", 26.0, bursts=1, burst=30, kills=5, freezes=2, freeze_for=(5.0, 6.0), outages=(3.0,), restarts=(9.0,),
    terminations=1, joins=0, starves=1, stalls=1, poisons=1, settle_within=60.0, episodes_shown=40,
)  # fmt: skip
LONG = Form(
    "long", 3600.0, rate=3.0, bursts=120, burst=40, kills=200, freezes=80, freeze_for=(5.0, 60.0),
    outages=tuple([5.0, 8.0, 12.0, 20.0, 45.0] * 10), restarts=tuple([2.0, 3.0, 4.0, 6.0, 12.0] * 10), terminations=60,
    joins=30, starves=60, stalls=60, poisons=20, settle_within=180.0, roles=ROLES, episodes_shown=1000,
)  # fmt: skip


def of_minutes(minutes: float) -> Form:
    """The CI form stretched or shortened: as much happens per minute, and at least one of everything."""
    factor = minutes * 60 / CI.seconds

    def times(count: int) -> int:
        return max(1, round(count * factor))

    return replace(
        CI, name=f"{minutes:g} min", seconds=minutes * 60, bursts=times(CI.bursts), kills=times(CI.kills),
        freezes=times(CI.freezes), outages=CI.outages * times(1) if minutes >= 2 else (10.0,),
        restarts=CI.restarts * times(1), terminations=times(CI.terminations), joins=times(CI.joins),
        starves=times(CI.starves), stalls=times(CI.stalls), poisons=times(CI.poisons),
    )  # fmt: skip
