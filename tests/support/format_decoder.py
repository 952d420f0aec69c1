"""Latents to images as docs/format.md sections 7 and 8 say, written from that text alone: slow, and with
nothing shared with the codec. Names are the text's.
"""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
f32 = np.float32


def read_artifact(content: bytes) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """7.1: the facts and the tensors."""
    n = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + n])
    facts = json.loads(header.pop("__metadata__")["latentstore"])
    types = {"I8": "i1", "U8": "u1", "I32": "<i4", "F32": "<f4"}
    tensors = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        data = content[8 + n + start : 8 + n + end]
        tensors[name] = np.frombuffer(data, types[entry["dtype"]]).reshape(entry["shape"])
    return facts, tensors


def scale(facts: dict[str, Any], quality: int) -> Floats:
    """8.1"""
    points = facts["quality_steps"]
    for (q0, s0), (q1, s1) in pairwise(points):
        if q0 <= quality <= q1:
            t = (quality - q0) / (q1 - q0)
            step = f32(2 ** (math.log2(s0) * (1 - t) + math.log2(s1) * t))
    return np.array([max(step, f32(floor)) for floor in facts["floor"]], np.float32)


def values(latent: npt.NDArray[np.int8], delta: Floats, step: Floats) -> Floats:
    """8.2"""
    out = np.zeros(latent.shape, np.float32)
    for (k, y, x), q in np.ndenumerate(latent):
        if q:
            v = (f32(abs(int(q))) - delta[k, 0 if abs(int(q)) == 1 else 1]) * step[k]
            out[k, y, x] = -v if q < 0 else v
    return out


def entry_list(colours: int, R: int) -> dict[int, list[tuple[int, int, int]]]:
    """8.3: (i, j, colour) of the entries of each class."""
    E = [path for path in range(R) if f"{path:b}".count("1") % 2 == 0]
    O = [path for path in range(R) if path not in E]  # noqa: E741
    of = {
        0: [(i, j) for i in E for j in E if j >= i],
        1: [(i, j) for i in E for j in E if j > i],
        2: [(i, j) for i in O for j in O if j >= i],
        3: [(i, j) for i in O for j in O if j > i],
        4: [(i, j) for i in E for j in O],
        5: [(i, j) for i in E for j in O],
    }
    return {kind: [(i, j, k) for i, j in pairs for k in range(colours)] for kind, pairs in of.items()}


def bands(v: Floats, tensors: dict[str, npt.NDArray[Any]], colours: int, R: int) -> npt.NDArray[np.float32]:
    """8.3, 8.4: X[v][u][colour]."""
    entries = entry_list(colours, R)
    rebuilt = {(kind, e): np.zeros(v.shape[1:], np.float32) for kind in entries for e in entries[kind]}
    used = 0
    for k, kind in enumerate(tensors["classes"].tolist()):
        for e in entries[kind]:
            if k < len(v):
                rebuilt[kind, e] += tensors["synthesis"][used] * v[k]
            used += 1
    X = np.zeros((R, R, colours, *v.shape[1:]), np.float32)
    for plus, minus in ((0, 1), (2, 3)):
        for i, j, k in entries[plus]:
            S = rebuilt[plus, (i, j, k)]
            X[i, j, k] = S if i == j else S + rebuilt[minus, (i, j, k)]
            X[j, i, k] = S if i == j else S - rebuilt[minus, (i, j, k)]
    for i, j, k in entries[4]:
        X[i, j, k], X[j, i, k] = rebuilt[4, (i, j, k)], rebuilt[5, (i, j, k)]
    return X


def extended(plane: Floats, odd_across: bool, odd_down: bool) -> Floats:
    """A plane with its primes: one position more on every side."""
    out = np.pad(plane, 1, mode="edge")
    if odd_across:
        out[:, [0, -1]] *= f32(-1)
    if odd_down:
        out[[0, -1], :] *= f32(-1)
    return out


def lift(quad: dict[str, Floats], target: str, c: np.float32) -> None:
    """8.5"""
    r, a, b = ("HH", "HL", "LH") if target == "LL" else ("LL", "LH", "HL")
    R, A, B = (extended(quad[n], n in ("HL", "HH"), n in ("LH", "HH")) for n in (r, a, b))
    horizontal = A[1:-1, :-2] - A[1:-1, 2:]
    vertical = B[:-2, 1:-1] - B[2:, 1:-1]
    mixed = (R[:-2, :-2] + R[2:, 2:]) - (R[:-2, 2:] + R[2:, :-2])
    quad[target] = (quad[target] + c * (horizontal + vertical)) + (c * c) * mixed
    quad[a] = quad[a] + c * (R[:-2, 1:-1] - R[2:, 1:-1])
    quad[b] = quad[b] + c * (R[1:-1, :-2] - R[1:-1, 2:])


def merged(LL: Floats, HL: Floats, LH: Floats, HH: Floats) -> Floats:
    """8.5: one level."""
    quad = {"LL": LL, "HL": HL, "LH": LH, "HH": HH}
    lift(quad, "HH", f32(9 / 64))
    lift(quad, "LL", f32(7 / 64))
    LL, HL, LH, HH = (quad[n] for n in ("LL", "HL", "LH", "HH"))
    se, de, so, do = LL + HH, LL - HH, HL + LH, HL - LH
    Y = np.zeros((2 * LL.shape[0], 2 * LL.shape[1]), np.float32)
    Y[0::2, 0::2], Y[0::2, 1::2] = (se + so) * f32(0.5), (de - do) * f32(0.5)
    Y[1::2, 0::2], Y[1::2, 1::2] = (de + do) * f32(0.5), (se - so) * f32(0.5)
    return Y


def image(content: bytes, latent: npt.NDArray[np.int8], quality: int, H: int, W: int) -> npt.NDArray[np.uint8]:
    """All of section 8: uint8 (H, W, colours)."""
    facts, tensors = read_artifact(content)
    colours = 3 if facts["mode"] == "RGB" else 1
    R = 2 ** facts.get("levels", 3)
    X = bands(values(latent, tensors["delta"], scale(facts, quality)), tensors, colours, R)
    out = np.zeros((H, W, colours), np.uint8)
    for k in range(colours):
        planes = {(v, u): X[v, u, k] for v in range(R) for u in range(R)}
        n = R
        while n := n // 2:  # paths lose their lowest bit
            planes = {
                (v, u): merged(*(planes[2 * v + dv, 2 * u + du] for dv in (0, 1) for du in (0, 1)))
                for v in range(n)
                for u in range(n)
            }
        out[..., k] = np.floor(np.clip(planes[0, 0] + f32(128.5), 0, 255))[:H, :W]
    return out
