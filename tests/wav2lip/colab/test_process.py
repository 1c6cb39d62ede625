"""Commands run from a notebook: streamed output, exit codes, interruption."""

import io
import sys

import pytest

from wav2lip.colab.process import last_line, run_command
from wav2lip.errors import InputError


@pytest.fixture
def write_module(tmp_path, monkeypatch):
    """Factory of modules that `python -m` can run."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def write(name, source):
        (tmp_path / f"{name}.py").write_text(source)
        return name

    return write


def test_run_command_shows_output_and_returns_exit_code(write_module, capsys):
    module = write_module("greets", "import sys; print('hello', *sys.argv[1:]); sys.exit(1)")
    assert run_command(module, "a b", ok_codes=(0, 1)) == 1
    assert capsys.readouterr().out == "$ python -m greets 'a b'\nhello a b\n"


def test_failed_command_raises_its_last_line(write_module):
    module = write_module("fails", "import sys; print('start'); sys.exit('error: x.mp4: is empty; give another')")
    with pytest.raises(InputError, match=r"^x\.mp4: is empty; give another$"):
        run_command(module)


def test_last_line_is_the_final_state_of_a_progress_bar():
    assert last_line("start\n 10%|#  \r100%|###\r\n\n") == "100%|###"


def test_interrupted_command_can_save_before_it_ends(write_module, monkeypatch, tmp_path):
    module = write_module("saves", f"""
import signal, time
def save(*_):
    open({str(tmp_path / "saved")!r}, "w").close()
    print("saved")
    raise SystemExit
signal.signal(signal.SIGTERM, save)
print("ready")
time.sleep(60)
""")  # fmt: skip

    class InterruptingOutput(io.StringIO):
        """Cell output that is interrupted once the command is ready."""

        def write(self, text):
            if text.strip() == "ready":
                raise KeyboardInterrupt
            return super().write(text)

    output = InterruptingOutput()
    monkeypatch.setattr(sys, "stdout", output)
    with pytest.raises(InputError, match="resume"):
        run_command(module)
    assert (tmp_path / "saved").exists()
    assert output.getvalue().endswith("saved\n")
