"""The site of the docs builds, asks no other server, and says what the program does."""

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
import wav2lip.demo
import wav2lip.evaluate
import wav2lip.export
import wav2lip.infer
import wav2lip.serve.keys
import wav2lip.serve.settings
from configs import reference
from configs.comments import explained
from docs.tools import commands
from train.scores import shift_curve

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TRANSLATED = sorted([*DOCS.glob("ru/*.md"), *DOCS.glob("zh/*.md")])
PARSERS = {
    "benchmarks.quality": benchmarks.quality.build_parser(),
    "wav2lip.infer": wav2lip.infer.build_parser(),
    "wav2lip.export": wav2lip.export.build_parser(),
    "wav2lip.evaluate": wav2lip.evaluate.build_parser(),
    "preprocess.doctor": preprocess.doctor.build_parser(),
    "wav2lip.demo": wav2lip.demo.build_parser(),
    "wav2lip.serve": wav2lip.serve.settings.build_parser(),
    "wav2lip.serve.keys": wav2lip.serve.keys.build_parser(),
}
ALL_LINES = re.MULTILINE | re.DOTALL
CONFIGS = {
    "preprocess": "preprocess",
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
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder


class Fetched(HTMLParser):
    """Addresses that a browser fetches to show a page; links that a reader may follow are none."""

    def __init__(self):
        super().__init__()
        self.addresses, self.pictures_without_words = [], []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if "src" in found or (tag == "link" and found.get("rel") in ("stylesheet", "preconnect", "icon", "preload")):
            self.addresses.append(found.get("src") or found.get("href"))
        if tag == "img" and not found.get("alt"):
            self.pictures_without_words.append(found.get("src"))


def test_every_page_of_the_site_needs_no_other_server_and_describes_its_pictures(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > len(PAGES)  # and the one for what is not found
    for page in pages:
        fetched = Fetched()
        fetched.feed(page.read_text(encoding="utf-8"))
        assert fetched.addresses, page
        assert [address for address in fetched.addresses if re.match(r"(https?:)?//", address)] == [], page
        assert fetched.pictures_without_words == [], page


def test_the_site_has_every_page_and_none_of_its_tools(site):
    names = {path.relative_to(site).with_suffix(".md").as_posix() for path in site.rglob("*.html")}
    assert {page.relative_to(DOCS).as_posix() for page in PAGES} | {"benchmarks.md"} <= names
    assert not list(site.rglob("*.py"))


@pytest.mark.parametrize(("page", "wanted"), [
    ("zh/first_result.html", '<html lang="zh"'),
    ("ru/three_networks.html", '<html lang="ru"'),
    ("index.html", '<html lang="en"'),
    ("speed.html", 'href="benchmarks.html"'),  # in the repository it is ../benchmarks/RESULTS.md
    ("benchmarks.html", 'href="speed.html#inference"'),
    ("recipes.html", '<span class="flag">--checkpoint_path</span> wav2lip_gan.pth'),
])  # fmt: skip
def test_pages_say_their_language_and_lead_to_the_benchmarks_and_keep_flags_whole(site, page, wanted):
    assert wanted in (site / page).read_text(encoding="utf-8")


@pytest.mark.parametrize(("page", "made"), [("configuration.md", reference.page), ("commands.md", commands.page)])
def test_the_reference_pages_are_what_the_program_says(page, made):
    assert (DOCS / page).read_text(encoding="utf-8") == made(), f"{page}: its first line but one says how it is made"


@pytest.mark.parametrize("root", sorted(set(CONFIGS.values())))
def test_every_key_of_every_command_is_on_the_page_of_the_configuration(root):
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    groups = tuple(f"{group}." for group in reference.GROUPS)  # whose keys are in tables of their own
    keys = {key for key in keys_of(root) if not key.startswith(groups)} - {*reference.GROUPS, "shots", "sync", "pack"}
    assert len(keys) > 5
    assert [key for key in keys if f"`{key}`" not in text] == []


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda file: file.name)
def test_every_key_of_a_config_is_explained_there(file):
    entries = explained(file)
    known = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert set(known) - {"defaults", "hydra"} == {entry.key.partition(".")[0] for entry in entries}
    assert [entry.key for entry in entries if entry.value and not entry.comment] == []


def test_comments_beside_above_and_below_a_key_are_told_apart(tmp_path):
    file = tmp_path / "some.yaml"
    file.write_text(
        "# The head.\ndefaults:\n  - other: one # of the group\n              # and on\n\nfirst: 1  # beside it\n"
        "          # and below\n# above the next\nsecond: a#b\n\n# A part\nthird: # a group\n  inner: 2 # inside\n"
    )
    assert [(entry.key, entry.comment, entry.section) for entry in explained(file)] == [
        ("first", "beside it and below", ""),
        ("second", "above the next", ""),
        ("third", "a group", "A part"),
        ("third.inner", "inside", "A part"),
    ]


def blocks(page):
    """The code blocks of a page, without what indents them."""
    found = re.findall(r"^( *)```(\w*)\n(.*?)^ *```$", page.read_text(encoding="utf-8"), flags=ALL_LINES)
    return [(language, re.sub(rf"^{indent}", "", code, flags=re.MULTILINE)) for indent, language, code in found]


def told_commands():
    """The commands of this project that pages tell a reader to run: page, module, words behind it."""
    for page in [ROOT / "README.md", *PAGES]:
        for language, code in blocks(page):
            for line in code.replace("\\\n", " ").splitlines() if language != "python" else ():
                found = re.search(r"(?:python|torchrun .*?) -m ([\w.]+)([^#|]*)", line)
                if found and found[1].partition(".")[0] in ("preprocess", "train", "wav2lip"):
                    yield page.relative_to(ROOT).as_posix(), found[1], found[2]


TOLD = list(told_commands())


def options_of(parser, words):
    """The flags that a command line may have: those of its mode, where it has modes."""
    for action in parser._actions:
        if isinstance(action.choices, dict) and words and words[0] in action.choices:
            return options_of(action.choices[words[0]], words[1:])
    return {option for action in parser._actions for option in action.option_strings}


def test_there_are_commands_in_the_pages():
    assert len(TOLD) > 60
    assert {module for _, module, _ in TOLD} >= {*CONFIGS, "wav2lip.infer", "wav2lip.evaluate", "preprocess.doctor"}


@pytest.mark.parametrize(("page", "module", "line"), TOLD)
def test_every_command_in_the_pages_has_flags_and_keys_that_there_are(page, module, line):
    words = shlex.split(re.sub(r"\[--", "--", line.replace("]", "") if "[--" in line else line))
    if module in PARSERS:
        known = options_of(PARSERS[module], words)
        assert [word for word in words if word.startswith("--") and word not in known] == []
    elif module in CONFIGS:
        keys = {word.partition("=")[0] for word in words if "=" in word and not word.startswith("-")}
        assert [key for key in keys - {"debug"} if key not in keys_of(CONFIGS[module])] == []
    else:
        assert find_spec(module) is not None


@cache
def keys_of(root):
    """All keys of a config, groups included."""
    return set(every_key(OmegaConf.to_container(reference.composed(root), resolve=False)))


def every_key(config, group=""):
    for name, value in config.items():
        yield f"{group}{name}"
        if isinstance(value, dict):
            yield from every_key(value, f"{group}{name}.")


# Pages that name flags of this project; on others there may be those of other programs.
NAMING = (
    "consent curves differences evaluation finetuning first_result how_it_works index inference install library moving "
    "preprocessing recipes three_networks troubleshooting your_videos"
)


@pytest.mark.parametrize("name", [*NAMING.split(), *(f"{page.parent.name}/{page.stem}" for page in TRANSLATED)])
def test_flags_named_in_the_text_of_a_page_are_flags_of_some_command(name):
    known = {flag for parser in PARSERS.values() for mode in modes(parser) for flag in mode} | {"--cfg"}  # Hydra's
    text = re.sub(r"^ *```.*?^ *```$", "", (DOCS / f"{name}.md").read_text(encoding="utf-8"), flags=ALL_LINES)
    told = [code for code in re.findall(r"`([^`]+)`", text) if not re.match("mkdocs|pip|torchrun|tensorboard", code)]
    named = {flag for code in told for flag in re.findall(r"(?<!\S)--[a-z]\w*", code)}
    assert named - known - (set(RELEASED_FLAGS) if name == "moving" else set()) == set()


def modes(parser):
    yield {option for action in parser._actions for option in action.option_strings}
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for mode in action.choices.values():
                yield from modes(mode)


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_a_translation_tells_the_same_commands_and_has_the_same_parts(page):
    english = DOCS / page.name
    assert len(blocks(english)) > 3
    assert blocks(page) == blocks(english)
    ours, theirs = (path.read_text(encoding="utf-8") for path in (page, english))
    assert [line.split()[0] for line in ours.splitlines() if line.startswith("#")] == [
        line.split()[0] for line in theirs.splitlines() if line.startswith("#")
    ]
    assert ours.count("\n|") == theirs.count("\n|")
    code = [set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))) for text in (ours, theirs)]
    assert code[0] == code[1]


def test_every_curve_on_the_page_of_curves_is_one_that_training_draws():
    text = (DOCS / "curves.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(?:val|train)/(\w+)`", text))
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "train").rglob("*.py"))
    assert len(named) > 15
    unknown = [name for name in named if not re.search(rf"\"(val/)?{name}\"", sources)]
    assert [name for name in unknown if name not in shift_curve.BETTER] == []


# What the release can be told, from its description: flags of its programs, fields of its hparams.
RELEASED_FLAGS = [
    "--checkpoint_path", "--face", "--audio", "--outfile", "--static", "--fps", "--pads", "--face_det_batch_size",
    "--wav2lip_batch_size", "--resize_factor", "--crop", "--box", "--rotate", "--nosmooth", "--data_root",
    "--preprocessed_root", "--ngpu", "--batch_size", "--checkpoint_dir", "--syncnet_checkpoint_path",
    "--disc_checkpoint_path", "--filelist", "--results_dir", "--mode", "--face_res", "--min_frame_res",
    "--max_frame_res", "--initial_model", "--vshift", "--tmp_dir", "--reference", "--data_dir", "--videofile"
]  # fmt: skip
RELEASED_FIELDS = [
    "num_mels", "rescale", "rescaling_max", "use_lws", "n_fft", "hop_size", "win_size", "sample_rate",
    "frame_shift_ms", "signal_normalization", "allow_clipping_in_normalization", "symmetric_mels", "max_abs_value",
    "preemphasize", "preemphasis", "min_level_db", "ref_level_db", "fmin", "fmax", "img_size", "fps", "batch_size",
    "initial_learning_rate", "nepochs", "num_workers", "checkpoint_interval", "eval_interval",
    "save_optimizer_state", "syncnet_wt", "syncnet_batch_size", "syncnet_lr", "syncnet_eval_interval",
    "syncnet_checkpoint_interval", "disc_wt", "disc_initial_learning_rate"
]  # fmt: skip
RELEASED_PROGRAMS = [
    "preprocess.py", "color_syncnet_train.py", "wav2lip_train.py", "hq_wav2lip_train.py", "inference.py",
    "gen_videos_from_filelist.py", "real_videos_inference.py", "calculate_scores_LRS.py",
    "calculate_scores_real_videos.sh"
]  # fmt: skip


@pytest.mark.parametrize("word", [*RELEASED_FLAGS, *RELEASED_FIELDS, *RELEASED_PROGRAMS])
def test_whoever_moves_from_the_release_finds_each_of_its_words(word):
    old = [line.split("|")[1] for line in (DOCS / "moving.md").read_text(encoding="utf-8").splitlines() if "|" in line]
    assert any(re.search(rf"(?<![\w-]){re.escape(word)}(?!\w)", cell) for cell in old)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    figures.main(folder)
    return folder


def words_in(picture):
    return re.findall(r"<text[^>]*>([^<]*)</text>", picture.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", figures.PICTURES)
def test_a_picture_of_the_docs_says_what_the_code_draws_now(drawn, name):
    kept = figures.FOLDER / f"{name}.svg"
    assert words_in(drawn / f"{name}.svg")
    assert words_in(drawn / f"{name}.svg") == words_in(kept), "draw it again: python -m docs.figures"
    assert kept.stat().st_size < 100_000


# Shapes from the tables of the published networks; 3.2 columns are 40 ms, cut down to whole columns.
@pytest.mark.parametrize(("name", "wanted"), [
    ("generator", ["faces 6 x 96 x 96", "16 x 96 x 96", "32 x 48 x 48", "64 x 24 x 24", "128 x 12 x 12", "256 x 6 x 6",
                   "512 x 3 x 3", "512 x 1 x 1", "384 x 12 x 12", "64 x 96 x 96", "made 3 x 96 x 96"]),
    ("judges", ["five mouths 15 x 48 x 96", "their sound 1 x 80 x 16", "128 x 23 x 24", "64 x 27 x 16",
                "one lower half 3 x 48 x 96"]),
    ("mel_windows", ["generator, frame 10: 16 columns from 28 on, 40 ms before the frame",
                     "expert, frames 10 to 14: 16 columns from 32 on"]),
    ("sample", ["faces: 6 x 96 x 96, BGR twice", "mel: 1 x 80 x 16"]),
    ("pipeline", ["probe", "report", "data root"]),
])  # fmt: skip
def test_pictures_show_the_published_shapes(name, wanted):
    words = words_in(figures.FOLDER / f"{name}.svg")
    assert [word for word in wanted if word not in words] == []
