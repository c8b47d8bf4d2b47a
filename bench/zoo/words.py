"""Text in many scripts: sentences to train a tokenizer on, and strings that a tokenizer may meet.

The words are everyday ones of each language; sentences are drawn from them and mean nothing.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

__all__ = ["SCRIPTS", "sentences", "strings"]

SCRIPTS: dict[str, tuple[str, str]] = {
    "english": (" ", "the a bus street is closed left right ahead clear rain red blue car stops slowly near bridge "
                     "today siren two people walking don't we're it's dogs running quickly"),
    "french": (" ", "la rue est fermée à gauche déjà très près garçon où être hôpital naïf cœur été"),
    "german": (" ", "die Straße ist gesperrt über für schön groß Fußgänger Ampel Brücke Öl Ärger"),
    "polish": (" ", "ulica jest zamknięta źle żółty łódź więcej świeci ćma ósmy dziś"),
    "vietnamese": (" ", "đường phố đã đóng bên trái người đi bộ xe buýt màu đỏ"),
    "turkish": (" ", "İstanbul caddesi kapalı ışık sağda çocuk güzel ağaç şehir"),
    "russian": (" ", "улица закрыта слева автобус едет медленно красный мост сегодня дождь люди идут"),
    "greek": (" ", "ο δρόμος είναι κλειστός αριστερά λεωφορείο κόκκινο γέφυρα σήμερα βροχή άνθρωποι"),
    "arabic": (" ", "الشارع مغلق على اليسار حافلة حمراء جسر اليوم مطر ناس يمشون ببطء"),
    "hebrew": (" ", "הרחוב סגור משמאל אוטובוס אדום גשר היום גשם אנשים הולכים לאט"),
    "hindi": (" ", "सड़क बाईं ओर बंद है लाल बस पुल आज बारिश लोग धीरे चल रहे हैं"),
    "chinese": ("", "街道 左边 封闭 红色 公共汽车 桥 今天 下雨 行人 慢慢 走 。 ，"),
    "japanese": ("", "通り は 左 で 閉鎖 赤い バス 橋 今日 雨 ゆっくり 歩く 。 ー"),
    "korean": (" ", "거리가 왼쪽에서 폐쇄되었습니다 빨간 버스 다리 오늘 비 사람들이 천천히 걷습니다"),
    "thai": ("", "ถนน ปิด ทาง ซ้าย รถ บัส สี แดง สะพาน วันนี้ ฝน คน เดิน ช้า"),
    "emoji": (" ", "🚌 🚑 🌧️ 👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇫🇷 ❤️ ☔ 😀😀 1️⃣"),
}  # fmt: skip
"""Script or language → what stands between its words, and some of them (here with spaces between)."""

_MARKS = (". ", ", ", "! ", "? ", ": ", " - ", "... ", "; ", " (", ") ", "“", "” ", "« ", " »", "、", "،", "।")
_SPACES = (" ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u2003", "\u3000", "\u200b", "\u200d", "\ufeff", "\u2028")
_BLOCKS = ((0x20, 0x7F), (0xA0, 0x180), (0x370, 0x400), (0x400, 0x530), (0x590, 0x700), (0x900, 0x980), (0xE00, 0xE80),
           (0x300, 0x370), (0x2000, 0x2070), (0x20A0, 0x20C0), (0x2190, 0x2300), (0x3040, 0x3100), (0x4E00, 0x9FA0),
           (0xAC00, 0xD7A4), (0xFB00, 0xFB50), (0xFF00, 0xFFEF), (0x1D400, 0x1D500), (0x1F300, 0x1F650))  # fmt: skip
_ODD = (".", "-", "\u200b", "\ufeff", "\u0301", "\x00", "\x7f", "'", "''s", "[SEP]", "[MASK] x", "<s>", "</s>a",
        "<pad>", "<|endoftext|>", "<|startoftext|> hi", "<extra_id_0>", "ﬁ", "ǅ", "ß", "ẞ", "İ", "ı",
        "１２３", "½", "e\u0301", "a\u0300\u0301\u0302", "１ ２", "x" * 120,
        "http://example.org/a?b=c&d=%20", "a@b.c", "C++", "#tag", "1,000.5",
        "don't", "DON'T", "'s's's", "\ud7a3", "\U0010fffd", "👨‍👩‍👧‍👦" * 9)  # fmt: skip


def sentences(count: int, seed: int = 0) -> list[str]:
    """`count` sentences, the scripts in turn; no emoji among them, as in most corpora."""
    draw = random.Random(seed)
    names = [name for name in SCRIPTS if name != "emoji"]
    return [_sentence(draw, names[index % len(names)], draw.randint(4, 12)) for index in range(count)]


def strings(count: int, seed: int = 1) -> list[str]:
    """`count` strings that a tokenizer may meet: each script, mixtures, odd white space, any character, long, tiny.

    None is empty or all white space: a pipeline takes such as no text.
    """
    draw = random.Random(seed)
    makers = (_one_script, _mixed, _spaced, _any_characters, _long, _odd)
    made: list[str] = []
    while len(made) < count:
        text = makers[len(made) % len(makers)](draw)
        if text and not text.isspace():
            made.append(text)
    return made


def _sentence(draw: random.Random, script: str, words: int) -> str:
    between, known = SCRIPTS[script]
    choice = known.split(" ")
    text = between.join(draw.choice(choice) for _ in range(words))
    return text[:1].upper() + text[1:] if draw.random() < 0.5 else text


def _one_script(draw: random.Random) -> str:
    return _sentence(draw, draw.choice(list(SCRIPTS)), draw.randint(1, 9)) + draw.choice(_MARKS)


def _mixed(draw: random.Random) -> str:
    pieces = [_sentence(draw, draw.choice(list(SCRIPTS)), draw.randint(1, 3)) for _ in range(draw.randint(2, 5))]
    text = "".join(piece + draw.choice(_MARKS) + str(draw.randint(0, 10**6)) for piece in pieces)
    return text.upper() if draw.random() < 0.2 else text


def _spaced(draw: random.Random) -> str:
    words: Sequence[str] = _mixed(draw).split(" ")
    return draw.choice(_SPACES) + "".join(word + draw.choice(_SPACES) * draw.randint(1, 3) for word in words)


def _any_characters(draw: random.Random) -> str:
    first, last = draw.choice(_BLOCKS)
    other = draw.choice(_BLOCKS)
    return "".join(chr(draw.randrange(*draw.choice([(first, last), other]))) for _ in range(draw.randint(1, 40)))


def _long(draw: random.Random) -> str:
    return " ".join(_one_script(draw) for _ in range(draw.randint(10, 40)))


def _odd(draw: random.Random) -> str:
    return draw.choice(_ODD) + (draw.choice(_SPACES) + draw.choice(_ODD) if draw.random() < 0.7 else "")
