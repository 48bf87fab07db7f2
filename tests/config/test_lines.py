"""Line numbers of keys."""

from preau.config.lines import key_lines

TEXT = '''\
# top
loose = 1
[instance]  # comment
domain = "x"
"quoted" = 1
motd = """
not_a_key = 1
[not.a.table]
"""
after = 2
[listen]
imap = [
  "127.0.0.1:143",
]
'''


def test_key_lines() -> None:
    assert key_lines(TEXT) == {
        ("", "loose"): 2,
        ("instance", ""): 3,
        ("instance", "domain"): 4,
        ("instance", "quoted"): 5,
        ("instance", "motd"): 6,
        ("instance", "after"): 10,
        ("listen", ""): 11,
        ("listen", "imap"): 12,
    }
