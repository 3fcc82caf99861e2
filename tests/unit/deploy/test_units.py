"""The systemd units: systemd accepts them, they are as closed as they say, and what they start exists."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

import stillwatch

UNITS = (
    "stillwatch-agent.service",
    "stillwatch-ledger.service",
    "stillwatch-watch.service",
    "stillwatch-witness.service",
)
MOST_EXPOSURE = 20
"""In tenths, as `systemd-analyze security --threshold` takes it; deploy/README.md says the figure."""
BINARY = "/opt/stillwatch/bin/stillwatch"


@pytest.fixture(params=UNITS)
def unit(request: pytest.FixtureRequest, root: Path) -> Path:
    return root / "deploy/systemd" / str(request.param)


def command(unit: Path) -> list[str]:
    found = re.findall(r"^ExecStart=(.+)$", unit.read_text(), re.MULTILINE)
    assert len(found) == 1
    return shlex.split(found[0])


def opened(unit: Path) -> Path:
    """The drop-in that opens a unit to other machines."""
    return unit.parent / "tls" / unit.with_suffix(".conf").name


def parse(words: list[str]) -> None:
    """Refuse a command that does not parse."""
    binary, *words = words
    assert binary == BINARY
    if words[:2] == ["audit", "watch"]:  # what it reads as it starts is not here
        words[words.index("--agreement") + 1] = __file__
        words = [one for one in words if one != "--tls" and not one.endswith("/tls")]
    context = click.Context(stillwatch.main, info_name="stillwatch")
    current: click.Command | None = stillwatch.main
    name: str | None = None
    while isinstance(current, click.Group):
        name, current, words = current.resolve_command(context, words)
    assert current is not None
    current.make_context(name, words, parent=context)  # raises for what the command does not take


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run([found, *arguments], capture_output=True, text=True, check=False)


def startable(unit: Path, tmp_path: Path) -> Path:
    """The unit with a command that this machine has: systemd looks whether it can be executed."""
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace(BINARY, "/bin/true"))
    return copy


def test_systemd_accepts_the_unit_without_a_word(unit: Path, tmp_path: Path) -> None:
    done = analyze("verify", str(startable(unit, tmp_path)))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_would_have_said_so_of_a_misspelt_setting(unit: Path, tmp_path: Path) -> None:
    copy = startable(unit, tmp_path)
    copy.write_text(copy.read_text().replace("NoNewPrivileges", "NoNewPrivilege"))
    assert "NoNewPrivilege" in analyze("verify", str(copy)).stderr


def test_the_unit_exposes_as_little_as_the_page_says(
    unit: Path, tmp_path: Path, root: Path
) -> None:
    copy = startable(unit, tmp_path)
    threshold = f"--threshold={MOST_EXPOSURE}"
    done = analyze("security", "--no-pager", "--offline=true", threshold, str(copy))
    assert done.returncode == 0, done.stdout
    assert f"{MOST_EXPOSURE / 10:.1f} (of 10)" in (root / "deploy/README.md").read_text()


def test_what_the_unit_starts_is_a_command_that_parses(unit: Path) -> None:
    parse(command(unit))


def test_systemd_accepts_the_unit_with_its_drop_in_and_it_stays_as_closed(
    unit: Path, tmp_path: Path
) -> None:
    copy = startable(unit, tmp_path)
    beside = tmp_path / f"{unit.name}.d"
    beside.mkdir()
    (beside / "tls.conf").write_text(opened(unit).read_text().replace(BINARY, "/bin/true"))
    done = analyze("verify", str(copy))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (beside / "tls.conf").write_text("[Service]\nSurprise=1\n")
    assert "Surprise" in analyze("verify", str(copy)).stderr, "it is read"


def test_a_drop_in_serves_over_tls_and_never_without(unit: Path) -> None:
    text = opened(unit).read_text()
    if "agent" in unit.name:
        assert "ExecStart" not in text
        return
    words = command(opened(unit))
    parse(words)
    assert words[words.index("--tls") + 1].startswith("/etc/stillwatch-")
    for option in ("--grpc", "--http"):
        if option in words:
            assert words[words.index(option) + 1].startswith("192.0.2.")


def test_services_reach_this_machine_and_no_other(unit: Path) -> None:
    text = unit.read_text()
    assert "IPAddressDeny=any\nIPAddressAllow=localhost\n" in text
    assert not re.search(r"0\.0\.0\.0|\[::\]", text)


def test_the_folders_of_the_page_are_those_of_the_units(root: Path) -> None:
    page = (root / "deploy/README.md").read_text()
    agent = (root / "deploy/systemd/stillwatch-agent.service").read_text()
    ledger = (root / "deploy/systemd/stillwatch-ledger.service").read_text()
    assert "ConfigurationDirectory=stillwatch\n" in agent
    assert "/etc/stillwatch/" in page
    witness = (root / "deploy/systemd/stillwatch-witness.service").read_text()
    assert "with `stillwatch-witness` for the user and the folder" in page
    assert "/var/lib/stillwatch-witness/witness" in witness
    watch = (root / "deploy/systemd/stillwatch-watch.service").read_text()
    assert "/etc/stillwatch-watch/agreement.toml" in page
    assert "/var/lib/stillwatch-watch/mirror" in watch
    for text in (agent, ledger, watch):
        state = re.search(r"^StateDirectory=(.+)$", text, re.MULTILINE)
        user = re.search(r"^User=(.+)$", text, re.MULTILINE)
        assert state is not None
        assert user is not None
        assert f"/var/lib/{state[1]}" in page
        assert (
            f"useradd --system --home-dir /var/lib/{state[1]} --shell /usr/sbin/nologin {user[1]}\n"
            in page
        )


def test_every_link_of_the_page_leads_somewhere(root: Path) -> None:
    page = root / "deploy/README.md"
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    assert links
    for link in links:
        assert (page.parent / link).exists(), link


def test_every_unit_that_lies_there_is_tested(root: Path) -> None:
    folder = root / "deploy/systemd"
    assert sorted(path.name for path in folder.glob("*.*")) == sorted(UNITS)
    assert sorted(path.name for path in (folder / "tls").iterdir()) == sorted(
        opened(folder / unit).name for unit in UNITS
    )
