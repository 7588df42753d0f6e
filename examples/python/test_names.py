import unittest

from names import written


class Names(unittest.TestCase):
    def test_writes_names_in_ascii(self):
        self.assertEqual(written("bücher.example"), "xn--bcher-kva.example")
