"""The QR code drawn with half blocks is, module for module, the code of the URI."""

import segno

from preau.suite.totp import render_qr

URI = "otpauth://totp/Preau:marie.durand%40ecole.example?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Preau"
LIGHT = {"█": (True, True), "▀": (True, False), "▄": (False, True), " ": (False, False)}  # upper, lower half
QUIET = 4


def test_the_drawing_is_the_code() -> None:
    halves = [[LIGHT[character] for character in line] for line in render_qr(URI)]
    rows = [[not half[which] for half in line] for line in halves for which in (0, 1)]
    matrix = [[bool(module) for module in row] for row in segno.make(URI, error="l", micro=False).matrix]
    size = len(matrix)
    assert [row[QUIET : QUIET + size] for row in rows[QUIET : QUIET + size]] == matrix


def test_it_fits_a_terminal() -> None:
    assert max(map(len, render_qr(URI + "&x=" + "y" * 60))) <= 80
