"""What is different on a base in files that are ours: where they are, and what they say.

    bases/BASE/moved        PREFIX PREFIX: what the repository has under the one path is under the other in this base
    bases/BASE/files/PATH   a file that this base has in addition, or in place of the repository's PATH
    bases/BASE/*.diff       given by the action 'vary': changes of files of ours

The repository's files are one state a commit (Series.state); a variation is made of each of them, so that what a commit
adds to a file does not know of it.
"""
import edits


class Variation:
    def __init__(self, root, base, moved):
        self.root, self.files = root, root / 'bases' / base / 'files'
        self.moved = [line.split() for line in moved]
        self.hunks = {}     # path -> [(name of the diff, hunks)], in the order in which they came

    def there(self, path):
        """Where this base has the file that the repository has at that path."""
        for prefix, other in self.moved:
            if path.startswith(prefix):
                return other + path[len(prefix):]
        return path

    def source(self, path):
        """The file that the base is given."""
        own = self.files / path
        return own if own.exists() else self.root / path

    def glob(self, pattern):
        """The paths of files of ours, the base's own among them."""
        return sorted({str(path.relative_to(root)) for root in (self.root, self.files) for path in root.glob(pattern)})

    def add(self, name, files):
        for path, hunks in files.items():
            if not all(old for _, old, _ in hunks):
                raise edits.Failed(f'{path}: a hunk without a line that is there before: its place is not known')
            self.hunks.setdefault(path, []).append((name, hunks))

    def of(self, path, text):
        """A state of a file of ours as this base has it."""
        for name, hunks in self.hunks.get(path, []):
            try:
                text = edits.apply_hunks(text, hunks, path)
            except edits.Failed as error:
                raise edits.Failed(f'{name}: {error}') from None
        return text
