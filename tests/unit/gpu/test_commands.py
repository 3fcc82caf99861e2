"""``python -m tests.gpu``."""

import pytest

import tests.gpu.__main__ as commands


def test_each_command_is_listed_and_loaded_when_it_is_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert commands.main([]) == 2
    usage = capsys.readouterr().err
    assert all(name in usage for name in commands.COMMANDS)
    assert commands.main(["--help"]) == 0
    assert commands.main(["nothing"]) == 2
    for name in commands.COMMANDS:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            commands.main([name, "--help"])
        assert ended.value.code == 0
        assert f"python -m tests.gpu {name}" in capsys.readouterr().out
