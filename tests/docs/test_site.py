"""The documentation site builds, loads nothing external, and agrees with the commands, configs and figures."""

import argparse
import re
import shlex
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

import benchmarks.quality
import docs.figures.__main__ as figures
import preprocess.doctor
import wav2lip.batch.__main__
import wav2lip.costs.__main__
import wav2lip.demo.__main__
import wav2lip.evaluate
import wav2lip.export
import wav2lip.infer
import wav2lip.prepare.__main__
import wav2lip.sadtalker.__main__
import wav2lip.serve.auth.api_keys
import wav2lip.serve.settings
import wav2lip.serve.usage.__main__
import wav2lip.synthetic.__main__
from configs.upstream_flags import translate_flags
from docs.tools import commands, reference
from docs.tools.comments import read_keys
from train.validation import offset_curve

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TRANSLATED = sorted([*DOCS.glob("ru/*.md"), *DOCS.glob("zh/*.md")])
PARSERS = {
    "benchmarks.quality": benchmarks.quality.build_parser(),
    "wav2lip.infer": wav2lip.infer.build_parser(),
    "wav2lip.sadtalker": wav2lip.sadtalker.__main__.build_parser(),
    "wav2lip.prepare": wav2lip.prepare.__main__.build_parser(),
    "wav2lip.batch": wav2lip.batch.__main__.build_parser(),
    "wav2lip.costs": wav2lip.costs.__main__.build_parser(),
    "wav2lip.export": wav2lip.export.build_parser(),
    "wav2lip.evaluate": wav2lip.evaluate.build_parser(),
    "preprocess.doctor": preprocess.doctor.build_parser(),
    "wav2lip.demo": wav2lip.demo.__main__.build_parser(),
    "wav2lip.synthetic": wav2lip.synthetic.__main__.build_parser(),
    "wav2lip.serve": wav2lip.serve.settings.build_parser(),
    "wav2lip.serve.auth.api_keys": wav2lip.serve.auth.api_keys.build_parser(),
    "wav2lip.serve.worker": wav2lip.serve.settings.build_worker_parser(),
    "wav2lip.serve.usage": wav2lip.serve.usage.__main__.build_parser(),
}
ALL_LINES = re.MULTILINE | re.DOTALL
CONFIGS = {
    "preprocess": "preprocess",
    "preprocess.merge": "merge",
    "preprocess.sync": "sync",
    "preprocess.pack": "pack",
    "train.syncnet": "syncnet",
    "train.wav2lip": "wav2lip",
    "train.wav2lip_gan": "wav2lip_gan",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return folder


class ResourceParser(HTMLParser):
    """Collect the addresses that a browser loads to render a page; links are not among them."""

    def __init__(self):
        super().__init__()
        self.addresses, self.images_without_alt = [], []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if "src" in attributes or (
            tag == "link" and attributes.get("rel") in ("stylesheet", "preconnect", "icon", "preload")
        ):
            self.addresses.append(attributes.get("src") or attributes.get("href"))
        if tag == "img" and not attributes.get("alt"):
            self.images_without_alt.append(attributes.get("src"))


def test_pages_load_nothing_external_and_have_alt_texts(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > len(PAGES)  # and the page for status 404
    for page in pages:
        parser = ResourceParser()
        parser.feed(page.read_text(encoding="utf-8"))
        assert parser.addresses, page
        assert [address for address in parser.addresses if re.match(r"(https?:)?//", address)] == [], page
        assert parser.images_without_alt == [], page


def test_site_has_every_page_and_no_tools(site):
    names = {path.relative_to(site).with_suffix(".md").as_posix() for path in site.rglob("*.html")}
    assert {page.relative_to(DOCS).as_posix() for page in PAGES} | {"benchmarks.md"} <= names
    assert not list(site.rglob("*.py"))


@pytest.mark.parametrize(("page", "expected"), [
    ("zh/first_result.html", '<html lang="zh"'),
    ("ru/three_networks.html", '<html lang="ru"'),
    ("index.html", '<html lang="en"'),
    ("speed.html", 'href="benchmarks.html"'),  # in the repository it is ../benchmarks/RESULTS.md
    ("benchmarks.html", 'href="speed.html#inference"'),
    ("recipes.html", '<span class="flag">--checkpoint_path</span> wav2lip_gan.pth'),
])  # fmt: skip
def test_pages_have_language_benchmark_links_and_whole_flags(site, page, expected):
    assert expected in (site / page).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("page", "render"), [("configuration.md", reference.build_page), ("commands.md", commands.build_page)]
)
def test_reference_pages_are_up_to_date(page, render):
    assert (DOCS / page).read_text(encoding="utf-8") == render(), (
        f"{page}: the head of the page has the command that writes it"
    )


@pytest.mark.parametrize("root", sorted(set(CONFIGS.values())))
def test_configuration_page_has_every_key(root):
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    groups = tuple(f"{group}." for group in reference.GROUPS)  # their keys are in separate tables
    keys = {key for key in config_keys(root) if not key.startswith(groups)} - {
        *reference.GROUPS,
        "shots",
        "sync",
        "pack",
    }
    assert len(keys) > 5
    assert [key for key in keys if f"`{key}`" not in text] == []


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda file: file.name)
def test_every_config_key_has_a_comment(file):
    entries = read_keys(file)
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert set(content) - {"defaults", "hydra"} == {entry.key.partition(".")[0] for entry in entries}
    assert [entry.key for entry in entries if entry.value and not entry.comment] == []


def test_comments_beside_above_and_below_a_key(tmp_path):
    file = tmp_path / "some.yaml"
    file.write_text(
        "# The head.\ndefaults:\n  - other: one # of the group\n              # and on\n\nfirst: 1  # beside it\n"
        "          # and below\n# above the next\nsecond: a#b\n\n# A part\nthird: # a group\n  inner: 2 # inside\n"
    )
    assert [(entry.key, entry.comment, entry.section) for entry in read_keys(file)] == [
        ("first", "beside it and below", ""),
        ("second", "above the next", ""),
        ("third", "a group", "A part"),
        ("third.inner", "inside", "A part"),
    ]


def code_blocks(page):
    """Return language and code of the blocks of a page, without their indentation."""
    blocks = re.findall(r"^( *)```(\w*)\n(.*?)^ *```$", page.read_text(encoding="utf-8"), flags=ALL_LINES)
    return [(language, re.sub(rf"^{indent}", "", code, flags=re.MULTILINE)) for indent, language, code in blocks]


def documented_commands():
    """Yield page, module and arguments of every command of this project in a code block."""
    for page in [ROOT / "README.md", *PAGES]:
        for language, code in code_blocks(page):
            for line in code.replace("\\\n", " ").splitlines() if language != "python" else ():
                command = re.search(r"(?:python|torchrun .*?) -m ([\w.]+)([^#|]*)", line)
                if command and command[1].partition(".")[0] in ("preprocess", "train", "wav2lip", "workflows"):
                    yield page.relative_to(ROOT).as_posix(), command[1], command[2]


COMMANDS = list(documented_commands())


def command_flags(parser, arguments):
    """Return the flags of a command line, or of its subcommand."""
    for action in parser._actions:
        if isinstance(action.choices, dict) and arguments and arguments[0] in action.choices:
            return command_flags(action.choices[arguments[0]], arguments[1:])
    return {option for action in parser._actions for option in action.option_strings}


def test_pages_contain_commands():
    assert len(COMMANDS) > 60
    assert {module for _, module, _ in COMMANDS} >= {*CONFIGS, "wav2lip.infer", "wav2lip.evaluate", "preprocess.doctor"}


@pytest.mark.parametrize(("page", "module", "line"), COMMANDS)
def test_documented_commands_use_existing_flags_and_keys(page, module, line):
    arguments = shlex.split(re.sub(r"\[--", "--", line.replace("]", "") if "[--" in line else line))
    if module in PARSERS:
        flags = command_flags(PARSERS[module], arguments)
        assert [argument for argument in arguments if argument.startswith("--") and argument not in flags] == []
    elif module in CONFIGS:
        arguments, _ = translate_flags(arguments, CONFIGS[module])
        keys = {
            argument.partition("=")[0] for argument in arguments if "=" in argument and not argument.startswith("-")
        }
        assert [key for key in keys - {"debug"} if key not in config_keys(CONFIGS[module])] == []
    else:
        assert find_spec(module) is not None


@cache
def config_keys(root):
    """Return all keys of a config, groups included."""
    return set(flatten_keys(OmegaConf.to_container(reference.compose_defaults(root), resolve=False)))


def flatten_keys(config, group=""):
    for name, value in config.items():
        yield f"{group}{name}"
        if isinstance(value, dict):
            yield from flatten_keys(value, f"{group}{name}.")


# Pages whose text names flags of this project only; others may name those of other programs.
PAGES_WITH_FLAGS = (
    "consent curves differences evaluation finetuning first_result how_it_works index inference install library moving "
    "preprocessing recipes three_networks troubleshooting your_videos"
)


@pytest.mark.parametrize(
    "name", [*PAGES_WITH_FLAGS.split(), *(f"{page.parent.name}/{page.stem}" for page in TRANSLATED)]
)
def test_flags_in_the_text_exist(name):
    valid_flags = {flag for parser in PARSERS.values() for mode in subcommand_flags(parser) for flag in mode}
    valid_flags.add("--cfg")  # of Hydra
    text = re.sub(r"^ *```.*?^ *```$", "", (DOCS / f"{name}.md").read_text(encoding="utf-8"), flags=ALL_LINES)
    code_spans = [
        code for code in re.findall(r"`([^`]+)`", text) if not re.match("mkdocs|pip|torchrun|tensorboard", code)
    ]
    mentioned = {flag for code in code_spans for flag in re.findall(r"(?<!\S)--[a-z]\w*", code)}
    assert mentioned - valid_flags - (set(UPSTREAM_FLAGS) if name == "moving" else set()) == set()


def subcommand_flags(parser):
    yield {option for action in parser._actions for option in action.option_strings}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for mode in action.choices.values():
                yield from subcommand_flags(mode)


def inline_code(text):
    return set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)))


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_translation_has_the_same_commands_and_sections(page):
    english = DOCS / page.name
    assert len(code_blocks(english)) > 3
    assert code_blocks(page) == code_blocks(english)
    translation, original = (path.read_text(encoding="utf-8") for path in (page, english))
    assert [line.split()[0] for line in translation.splitlines() if line.startswith("#")] == [
        line.split()[0] for line in original.splitlines() if line.startswith("#")
    ]
    assert translation.count("\n|") == original.count("\n|")
    code = [
        set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)))
        for text in (translation, original)
    ]
    assert code[0] == code[1]


def test_curves_page_names_logged_scalars():
    text = (DOCS / "curves.md").read_text(encoding="utf-8")
    mentioned = set(re.findall(r"`(?:val|train)/(\w+)`", text))
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "train").rglob("*.py"))
    assert len(mentioned) > 15
    unknown = [name for name in mentioned if not re.search(rf"\"(val/)?{name}\"", sources)]
    assert [name for name in unknown if name not in offset_curve.BETTER] == []


# Flags and hparams of upstream's programs, from their specification.
UPSTREAM_FLAGS = [
    "--checkpoint_path", "--face", "--audio", "--outfile", "--static", "--fps", "--pads", "--face_det_batch_size",
    "--wav2lip_batch_size", "--resize_factor", "--crop", "--box", "--rotate", "--nosmooth", "--data_root",
    "--preprocessed_root", "--ngpu", "--batch_size", "--checkpoint_dir", "--syncnet_checkpoint_path",
    "--disc_checkpoint_path", "--filelist", "--results_dir", "--mode", "--face_res", "--min_frame_res",
    "--max_frame_res", "--initial_model", "--vshift", "--tmp_dir", "--reference", "--data_dir", "--videofile"
]  # fmt: skip
UPSTREAM_FIELDS = [
    "num_mels", "rescale", "rescaling_max", "use_lws", "n_fft", "hop_size", "win_size", "sample_rate",
    "frame_shift_ms", "signal_normalization", "allow_clipping_in_normalization", "symmetric_mels", "max_abs_value",
    "preemphasize", "preemphasis", "min_level_db", "ref_level_db", "fmin", "fmax", "img_size", "fps", "batch_size",
    "initial_learning_rate", "nepochs", "num_workers", "checkpoint_interval", "eval_interval",
    "save_optimizer_state", "syncnet_wt", "syncnet_batch_size", "syncnet_lr", "syncnet_eval_interval",
    "syncnet_checkpoint_interval", "disc_wt", "disc_initial_learning_rate"
]  # fmt: skip
UPSTREAM_PROGRAMS = [
    "preprocess.py", "color_syncnet_train.py", "wav2lip_train.py", "hq_wav2lip_train.py", "inference.py",
    "gen_videos_from_filelist.py", "real_videos_inference.py", "calculate_scores_LRS.py",
    "calculate_scores_real_videos.sh"
]  # fmt: skip


@pytest.mark.parametrize("name", [*UPSTREAM_FLAGS, *UPSTREAM_FIELDS, *UPSTREAM_PROGRAMS])
def test_moving_page_covers_every_upstream_name(name):
    upstream_names = [
        line.split("|")[1] for line in (DOCS / "moving.md").read_text(encoding="utf-8").splitlines() if "|" in line
    ]
    assert any(re.search(rf"(?<![\w-]){re.escape(name)}(?!\w)", cell) for cell in upstream_names)


@pytest.fixture(scope="module")
def new_figures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("new_figures")
    figures.main(folder)
    return folder


def texts_in(figure):
    return re.findall(r"<text[^>]*>([^<]*)</text>", figure.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", figures.FIGURES)
def test_stored_figures_are_up_to_date(new_figures, name):
    stored = figures.FOLDER / f"{name}.svg"
    assert texts_in(new_figures / f"{name}.svg")
    assert texts_in(new_figures / f"{name}.svg") == texts_in(stored), "draw it again: python -m docs.figures"
    assert stored.stat().st_size < 100_000


# Shapes from the tables of upstream's networks; 40 ms are 3.2 columns, truncated.
@pytest.mark.parametrize(("name", "expected"), [
    ("generator", ["faces 6 x 96 x 96", "16 x 96 x 96", "32 x 48 x 48", "64 x 24 x 24", "128 x 12 x 12", "256 x 6 x 6",
                   "512 x 3 x 3", "512 x 1 x 1", "384 x 12 x 12", "64 x 96 x 96", "output 3 x 96 x 96"]),
    ("expert_and_discriminator", ["five lower faces 15 x 48 x 96", "their audio 1 x 80 x 16", "128 x 23 x 24",
                                  "64 x 27 x 16", "one lower face 3 x 48 x 96"]),
    ("mel_windows", ["generator, frame 10: 16 columns from 28, 40 ms before the frame",
                     "expert, frames 10 to 14: 16 columns from 32"]),
    ("sample", ["faces: 6 x 96 x 96, BGR twice", "mel: 1 x 80 x 16"]),
    ("pipeline", ["probe", "report", "data root"]),
])  # fmt: skip
def test_figures_show_upstream_shapes(name, expected):
    texts = texts_in(figures.FOLDER / f"{name}.svg")
    assert [text for text in expected if text not in texts] == []
