"""Recipes: what is read, and which key is named where something is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentstore.codecs.errors import ArgumentError
from latentstore.train.recipe import Folder, read_recipe

WHOLE = 'images = [{folder = "a"}, {folder = "b", reduce = 0.5}]\nout = "x.safetensors"\n'


def test_a_recipe_is_read(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text(
        WHOLE + 'steps = 5\nseed = 3\nwatch = "w"\nprefixes = {12 = 2, 48 = 1.5}\nrate = 0.01\n'
    )
    recipe = read_recipe(tmp_path / "my.toml")
    assert recipe.images == (Folder(tmp_path / "a", 1.0), Folder(tmp_path / "b", 0.5))
    assert (recipe.out, recipe.work) == (tmp_path / "x.safetensors", tmp_path / "my-run")
    assert (recipe.steps, recipe.minutes, recipe.seed, recipe.rate) == (5, None, 3, 0.01)
    assert recipe.watch == tmp_path / "w"
    assert recipe.prefixes == {12: 2, 48: 1.5} and recipe.qualities == {}
    assert (recipe.artifact, recipe.name) == ("rgb-f8c48", "small")


def test_an_artifact_file_is_sought_beside_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text(WHOLE + 'minutes = 5\nartifact = "mine.safetensors"')
    assert read_recipe(tmp_path / "my.toml").artifact == str(tmp_path / "mine.safetensors")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (WHOLE + "minutes = 1\nseeds = 1", "unknown key 'seeds': did you mean seed?"),
        (WHOLE + "minutes = 1\nzzz = 1", "unknown key 'zzz': a recipe may have images, recordings, out, "),
        (WHOLE, "must have one of minutes and steps"),
        (WHOLE + "minutes = 1\nsteps = 1", "must have one of minutes and steps"),
        (WHOLE + "minutes = 0", "minutes is 0; it is a number above 0"),
        (WHOLE + "minutes = nan", "minutes is nan"),
        (WHOLE + "steps = 1.5", "steps is 1.5; it is a whole number"),
        (WHOLE + "steps = true", "steps is True"),
        (WHOLE + "steps = 1\nbatch = 0", "batch is 0; it is a whole number from 1"),
        (WHOLE + "steps = 1\nwidth = 100000", "width is 100000; it is a whole number from 1 to 512"),
        (WHOLE + "steps = 1\nrate = -1", "rate is -1"),
        (WHOLE + 'steps = 1\nname = "linear"', "name is 'linear'"),
        (WHOLE + 'steps = 1\nname = "My net"', "name is 'My net'"),
        (WHOLE + 'steps = 1\ndevice = "tpu"', "device is 'tpu'; it is 'cpu' or 'cuda'"),
        (WHOLE + "steps = 1\nprefixes = {0 = 1}", "prefixes is {'0': 1}; it is a table of numbers from 1 to 1024"),
        (WHOLE + "steps = 1\nprefixes = [12]", r"prefixes is \[12\]"),
        (WHOLE + "steps = 1\nqualities = {101 = 1}", "qualities is"),
        (WHOLE + "steps = 1\nqualities = {50 = 0}", "qualities is"),
        (WHOLE + "steps = 1\nwatch = 3", "watch is 3; it is a path"),
        ('out = "x.safetensors"\nsteps = 1', "images or of recordings: one of the two"),
        (WHOLE + 'minutes = 1\nrecordings = [{folder = "a"}]', "images or of recordings: one of the two"),
        ('recordings = [{folder = "a", reduce = 0.5}]\nout = "x.safetensors"\nsteps = 1', "recordings is"),
        (
            'recordings = [{folder = "a"}]\nhead = 8\nout = "x.safetensors"\nsteps = 1',
            "head is 8; it is a key of images",
        ),
        ('images = "a"\nout = "x.safetensors"\nsteps = 1', "images is 'a'"),
        ('images = [{folder = "a", redcue = 1}]\nout = "x.safetensors"\nsteps = 1', "images is"),
        ('images = [{folder = "a", reduce = 2}]\nout = "x.safetensors"\nsteps = 1', "images is"),
        ('images = [{folder = "a"}]\nsteps = 1', "out is missing"),
        ('images = [{folder = "a"}]\nout = "x.pt"\nsteps = 1', "ends in .safetensors"),
        ("images = [", "is not TOML"),
        ("\udcff", "is not TOML"),
    ],
)
def test_recipes_that_cannot_be_meant(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ArgumentError, match=message):
        read_recipe(tmp_path / "my.toml")


def test_recipes_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ArgumentError, match="cannot be read"):
            read_recipe(path)
    (tmp_path / "long.toml").write_bytes(b"#" * (2 << 20))
    with pytest.raises(ArgumentError, match="is no recipe"):
        read_recipe(tmp_path / "long.toml")
