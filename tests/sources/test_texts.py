"""Texts on disk: tables, folders of .txt files, CoNLL-U files and tables of tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridcell import sources
from gridcell.config import DataConfig
from gridcell.errors import ConfigError, GridcellError, SourceError
from gridcell.samples import TEST, TRAIN, UNASSIGNED, VALID, Samples, TextFacts
from gridcell.sources import texts
from gridcell.sources.characters import clean, texts_of

REVIEWS = (
    "text,label\n"
    "a film for everyone,good\n"
    "nothing works in it,bad\n"
    '"long, and dull",bad\n'
    "seen it twice now,good\n"
)
TOKENS = (
    "sentence_id,position,token,upos,xpos\n"
    '0,0,NA,PROPN,NNP\n0,1,",",PUNCT,","\n0,2,runs,VERB,VBZ\n'
    '1,0,"""",PUNCT,``\n1,1,Yes,INTJ,UH\n'
)
CONLLU = (
    "# sent_id = a\n"
    "1-2\tdon't\t_\t_\t_\t_\t_\t_\t_\t_\n"
    "1\tdo\tdo\tAUX\tVB\t_\t0\troot\t_\t_\n"
    "2\tn't\tnot\tPART\tRB\t_\t1\tadvmod\t_\t_\n"
    "2.1\tgo\tgo\tVERB\tVB\t_\t_\t_\t_\t_\n"
    "\n"
    "# sent_id = b\n"
    "1\t#\t#\tSYM\tNN\t_\t0\troot\t_\t_\n"
)


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def read(path: Path, **settings: Any) -> Samples:
    split = {name: settings.pop(name, None) for name in ("group", "folds")}
    purpose = settings.pop("purpose", "train")
    return texts.read(path, DataConfig(**settings), purpose=purpose, **split)


def refused(path: Path, error: type[GridcellError] = SourceError, **settings: Any) -> str:
    with pytest.raises(error) as caught:
        read(path, **settings)
    assert caught.value.fix
    return str(caught.value)


def strings(samples: Samples) -> list[str]:
    facts = samples.facts
    assert isinstance(facts, TextFacts)
    return texts_of(facts.codes, facts.starts, range(len(samples)))


def said(samples: Samples) -> str:
    return "\n".join(samples.notes)


def is_texts(path: Path, **settings: Any) -> bool:
    return texts.is_texts(path, DataConfig(**settings))


# Characters


def test_a_line_that_does_not_fit_makes_no_other_table_of_it(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", REVIEWS + "good, but far too long,bad\n")
    with pytest.raises(SourceError) as caught:
        sources.read(path, DataConfig())
    text = str(caught.value)
    assert "1 line cannot be read as a row of 2 cells" in text
    assert "line 6: 3 or more cells: good, but far too long,bad" in text
    assert "a cell that holds a comma must stand in quotes" in text


def test_the_same_word_in_two_spellings_is_one() -> None:
    assert clean("cafe\u0301") == clean("caf\u00e9") == "café"
    assert clean("\ufeffa\u200bb\r\nc\ufeff ") == "ab\nc"
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    assert clean(f" {family} ") == family  # joiners carry meaning
    assert clean("שלום \u0627\u0644\u0639") == "שלום \u0627\u0644\u0639"


# Tables


def test_the_column_of_texts_is_found_and_the_other_is_learned(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", REVIEWS)
    found = read(path)
    assert is_texts(path)
    assert (found.task, found.labels, found.kind) == ("classify", ("bad", "good"), "texts")
    assert found.targets.tolist() == [1, 0, 0, 1]
    assert strings(found)[2] == "long, and dull"
    assert found.paths[:2] == ("t.csv#2", "t.csv#3") and found.root == str(tmp_path)
    assert found.given.tolist() == [UNASSIGNED] * 4
    assert not found.facts.is_tokenized  # type: ignore[union-attr]
    assert "4 texts from t.csv, in column text." in found.notes
    assert "Column label gives 2 classes: good 2, bad 2." in found.notes


def test_equal_texts_have_equal_digests(tmp_path: Path) -> None:
    rows = REVIEWS + "  cafe\u0301 au lait , good\ncafé au lait,bad\n"
    digests = read(write(tmp_path / "t.csv", rows)).digests
    assert digests[4] == digests[5] and digests[0] != digests[1]


def test_a_table_without_names_is_read_and_said(tmp_path: Path) -> None:
    rows = 'ham\t"see you at home\nham\tgo there now\nspam\twin a prize\nham\tok then, bye\n'
    rows += "spam\ta free call\nham\tnot today\n"
    found = read(write(tmp_path / "sms.tsv", rows))
    assert found.labels == ("ham", "spam") and len(found) == 6
    assert found.paths[0] == "sms.tsv#1"
    assert "quotes do not pair up" in said(found) and "read as data, not as names" in said(found)


def test_numbers_and_several_labels_are_learned_by_the_rules_of_all_tables(tmp_path: Path) -> None:
    rows = "text,stars,glad,sad\nwell done my friend,4.5,1,0\nso so at best,1.25,0,1\n"
    path = write(tmp_path / "t.csv", rows)
    assert read(path, target=("stars",)).targets.tolist() == [[4.5], [1.25]]
    labels = read(path, target=("glad", "sad"))
    assert labels.task == "labels" and labels.targets.tolist() == [[1, 0], [0, 1]]
    rows = "text,moods\nwell done my friend,glad;calm\nso so at best,\nwhat a mess,sad\n"
    several = read(write(tmp_path / "t.csv", rows), target=("moods",), task="labels")
    assert several.labels == ("calm", "glad", "sad")
    assert several.targets.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]


def test_split_group_and_folds_are_columns_as_ever(tmp_path: Path) -> None:
    rows = ["text,label,split,writer,fold"]
    rows += [
        f"text number {n} here,{'ab'[n % 2]},{s},w{n // 2},f{n % 3}"
        for n, s in enumerate(["train", "train", "test", "val", "train", "train"])
    ]
    path = write(tmp_path / "t.csv", "\n".join(rows))
    target = {"target": ("label",)}
    found = read(path, group="writer", **target)
    assert found.given.tolist() == [TRAIN, TRAIN, TEST, VALID, TRAIN, TRAIN]
    assert found.groups is not None and found.groups.tolist() == [0, 0, 1, 1, 2, 2]
    assert "Column writer gives 3 groups, each kept on one side of the split." in found.notes
    assert "The data's own split is kept, from column split" in said(found)
    folds = read(path, folds="fold", **target)
    assert folds.folds is not None and folds.folds.tolist() == [0, 1, 2, 0, 1, 2]
    assert "gives 3 folds, each in turn the test part: f0, f1, f2." in said(folds)
    assert "Column split is ignored: the folds say who is tested." in folds.notes
    assert "never seen in training" in refused(
        write(tmp_path / "u.csv", "text,label,split\na b c,x,train\nd e f,y,train\ng h i,z,test\n")
    )


def test_a_row_without_a_text_stops_or_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", REVIEWS + "\u200b \ufeff,good\n,odd\n")
    text = refused(path)
    assert "column text holds no text in rows 6, 7 (the header is row 1)" in text
    assert "--on-bad-file skip" in text
    found = read(path, on_bad_file="skip")
    assert len(found) == 4 and found.labels == ("bad", "good")
    assert "Left out, 2 rows without a text:\n    t.csv, rows 6, 7" in said(found)
    assert "Left out, none of its texts is left: odd." in found.notes
    empty = write(tmp_path / "e.csv", "text,label\n\ufeff,a\n\u200b,b\n")
    assert "column text holds no text at all" in refused(
        empty, on_bad_file="skip", text_column="text"
    )


def test_several_columns_of_texts_ask_for_one(tmp_path: Path) -> None:
    rows = "title,body,label\na b c,d e f,x\ng h i,j k l,y\n"
    path = write(tmp_path / "t.csv", rows)
    text = refused(path, ConfigError)
    assert "more than one column that could hold the texts: title, body" in text
    assert "--text-column title" in text
    found = read(path, text_column="body", target=("label",))
    assert strings(found) == ["d e f", "j k l"]


def test_a_table_without_texts_lists_its_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "a,b\n1,2\n3,4\n")
    assert not is_texts(path)
    text = refused(path, kind="texts")
    assert "no column holds texts, mostly different and of several words. Its columns: a, b" in text
    assert "--text-column" in text


def test_single_words_are_texts_where_texts_are_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "name,land\nIvan,ru\nOlga,ru\nAnne,fr\nLuc,fr\n")
    assert not is_texts(path) and is_texts(path, kind="texts") and not is_texts(path, kind="images")
    found = read(path, kind="texts")
    assert strings(found)[0] == "Ivan" and found.labels == ("fr", "ru")


def test_what_to_learn_must_be_clear(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "text,a,b\none two three,x,1\nfour five six,y,2\n")
    text = refused(path, ConfigError)
    assert "more than one column that could be learned" in text and "--target a" in text
    alone = write(tmp_path / "u.csv", "text\none two three\nfour five six\n")
    assert "no column to learn besides text" in refused(alone, ConfigError)
    assert "has no column labl (for target)" in refused(path, ConfigError, target=("labl",))
    twice = refused(path, ConfigError, target=("text",), text_column="text")
    assert "column text is named for two uses at once" in twice
    one = write(tmp_path / "v.csv", "text,label\none two three,x\nfour five six,x\n")
    assert "at least 2 classes are needed, only x was found" in refused(one)


@pytest.mark.parametrize("name", ["path_column", "id_column", "time_column", "inputs"])
def test_settings_of_other_tables_are_refused(tmp_path: Path, name: str) -> None:
    value = ("label",) if name == "inputs" else "label"
    path = write(tmp_path / "t.csv", REVIEWS)
    assert f"{name} has no effect on a table of texts" in refused(
        path, ConfigError, **{name: value}
    )


def test_tasks_of_other_data_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", REVIEWS)
    assert "task events cannot be read from a table with one text a row" in refused(
        path, ConfigError, task="events"
    )
    text = refused(path, ConfigError, task="tags")
    assert "write one row a token, with columns sentence_id, position, token and tag" in text


def test_an_encoding_is_named_or_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", REVIEWS.replace("film", "filmé"), "latin-1")
    assert not is_texts(path)  # whoever reads it next says why
    text = refused(path)
    assert "byte b'\\xe9' in line 2" in text and "--encoding cp1252" in text
    assert strings(read(path, encoding="latin-1"))[0] == "a filmé for everyone"


def test_a_table_of_files_is_none_of_texts(tmp_path: Path) -> None:
    rows = "path,caption,label\na.png,a big red cat,x\nb.png,a small dog,y\n"
    path = write(tmp_path / "t.csv", rows)
    assert not is_texts(path)
    assert is_texts(path, text_column="caption")


def test_dates_and_numbers_are_no_texts(tmp_path: Path) -> None:
    rows = "when,x\n2019-01-01 00:00,1.5\n2019-01-02 00:00,2.5\n"
    assert not is_texts(write(tmp_path / "t.csv", rows))
    assert not is_texts(tmp_path / "none.csv")


def test_tables_of_one_folder_are_a_split_by_their_names(tmp_path: Path) -> None:
    write(tmp_path / "sst_train.csv", REVIEWS)
    write(tmp_path / "sst_dev.csv", "text,label\nwhat a fine day,good\n")
    write(tmp_path / "sst_test.csv", "label,text\nbad,no no no\ngood,yes yes yes\n")
    assert is_texts(tmp_path)
    found = read(tmp_path)
    assert found.given.tolist() == [TRAIN] * 4 + [VALID] + [TEST] * 2
    assert found.targets.tolist() == [1, 0, 0, 1, 1, 0, 1]
    assert found.paths[-1] == "sst_test.csv#3" and strings(found)[-1] == "yes yes yes"
    assert (
        "The data's own split is kept, from the names of the tables: train 4 (sst_train.csv), "
        "valid 1 (sst_dev.csv), test 2 (sst_test.csv)."
    ) in found.notes
    write(tmp_path / "sst_test.csv", "text,label\nno no no,bad\nyes yes yes,\n")
    assert "sst_test.csv: column label has 1 missing cell" in refused(tmp_path)
    write(tmp_path / "sst_test.csv", "text,class\nno no no,bad\n")
    assert "sst_test.csv has no column label, which sst_train.csv has" in refused(tmp_path)


def test_to_score_one_class_will_do(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "text,label\nso so at best,good\n")
    assert read(path, purpose="score").labels == ("good",)


# Folders


def class_folder(root: Path) -> Path:
    for name, text in (("pos/1.txt", "a fine\r\nfilm"), ("pos/2.txt", "good"), ("neg/1.txt", "no")):
        write(root / name, text)
    return root


def test_a_folder_of_class_folders_has_a_text_a_file(tmp_path: Path) -> None:
    write(class_folder(tmp_path) / "readme.txt", "about")
    found = read(tmp_path)
    assert is_texts(tmp_path)
    assert found.labels == ("neg", "pos") and found.targets.tolist() == [0, 1, 1]
    assert found.paths == ("neg/1.txt", "pos/1.txt", "pos/2.txt")
    assert strings(found)[1] == "a fine\nfilm"
    assert "3 texts, one a file, in 2 classes: neg, pos." in found.notes
    assert "1 text lies outside any class folder: readme.txt" in said(found)


def test_split_folders_above_are_kept(tmp_path: Path) -> None:
    class_folder(tmp_path / "train")
    class_folder(tmp_path / "test")
    found = read(tmp_path)
    assert sorted(found.given.tolist()) == [TRAIN] * 3 + [TEST] * 3
    assert "from the folders train, test: train 3, test 3." in said(found)


def test_a_flat_folder_has_a_class_a_file_and_a_text_a_line(tmp_path: Path) -> None:
    write(tmp_path / "Irish.txt", "O'Neal\n\nBrady\n")
    write(tmp_path / "Czech.txt", "Novák\r\nDvořák")
    write(tmp_path / "README.txt", "names of families")
    found = read(tmp_path)
    assert is_texts(tmp_path)
    assert found.labels == ("Czech", "Irish") and found.targets.tolist() == [0, 0, 1, 1]
    assert strings(found) == ["Novák", "Dvořák", "O'Neal", "Brady"]
    assert found.paths[-1] == "Irish.txt#3"
    assert "each file is a class and each of its lines a text." in said(found)
    assert "Lines: Czech 2, Irish 2." in found.notes
    assert "Left out, 1 blank line." in found.notes
    assert "Left out, not taken for classes: README.txt." in found.notes


def test_flat_files_may_stand_in_split_folders(tmp_path: Path) -> None:
    for part in ("train", "test"):
        write(tmp_path / part / "a.txt", "one\ntwo")
        write(tmp_path / part / "b.txt", "three")
    found = read(tmp_path)
    assert found.labels == ("a", "b") and (found.given == TEST).sum() == 3
    assert "from the folders train, test: train 3, test 3." in said(found)


def test_files_without_text_are_named_or_skipped(tmp_path: Path) -> None:
    class_folder(tmp_path)
    write(tmp_path / "pos" / "3.txt", "")
    write(tmp_path / "pos" / "4.txt", " \n\t\ufeff ")
    write(tmp_path / "odd" / "5.txt", "café", "latin-1")
    text = refused(tmp_path)
    assert "pos/3.txt is empty (0 bytes)" in text and "pos/4.txt holds only white space" in text
    assert "odd/5.txt is not UTF-8 text: byte b'\\xe9' in line 1" in text
    assert "--encoding cp1252" in text
    found = read(tmp_path, on_bad_file="skip")
    assert len(found) == 3 and "3 skipped as unreadable" in said(found)
    assert "Left out, none of its files can be read: odd." in found.notes
    write(tmp_path / "pos" / "3.txt", "more")
    write(tmp_path / "pos" / "4.txt", "more")
    assert strings(read(tmp_path, encoding="latin-1"))[1] == "café"


def test_an_encoding_is_that_of_the_files_which_are_no_utf_8(tmp_path: Path) -> None:
    write(tmp_path / "a" / "1.txt", "où été")
    write(tmp_path / "a" / "2.txt", "où été", "cp1252")
    write(tmp_path / "b" / "1.txt", "où été", "utf-8-sig")
    write(tmp_path / "b" / "2.txt", "où été", "utf-16")
    assert set(strings(read(tmp_path, encoding="cp1252"))) == {"où été"}


def test_folders_that_are_none_of_texts(tmp_path: Path, picture: Any) -> None:
    assert not is_texts(tmp_path)
    write(tmp_path / "notes.txt", "a note")
    assert not is_texts(tmp_path)  # one note is no data
    picture(tmp_path / "cat" / "1.png")
    write(tmp_path / "cat" / "about.txt", "a cat")
    assert not is_texts(tmp_path)
    assert is_texts(tmp_path, kind="texts")


def test_what_a_folder_cannot_be_asked_is_refused(tmp_path: Path) -> None:
    class_folder(tmp_path)
    text = refused(tmp_path, ConfigError, text_column="a")
    assert "text_column has no effect on a folder of .txt files: it is for a table" in text
    assert "target has no effect on a folder" in refused(tmp_path, ConfigError, target=("a",))
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "holds no text. Extensions seen: none. Supported: .txt" in refused(empty, kind="texts")
    write(empty / "one.txt", "a b\nc d")
    text = refused(empty, kind="texts")
    assert "at least 2 classes are needed, only one was found" in text
    assert "into a file of its own" in text


def test_a_single_text_says_what_is_wanted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "once upon a time")
    assert is_texts(path)
    assert "is a single text; training needs many, of at least 2 classes" in refused(path)
    assert "nothing says which class it is of" in refused(path, purpose="score")
    assert "a.txt is empty (0 bytes)" in refused(write(path, ""))
    assert "a.txt holds only white space" in refused(write(path, " \n "))
    assert "does not exist" in refused(tmp_path / "none.txt")


# Tokens


def test_a_table_of_tokens_has_a_tag_each(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", TOKENS)
    found = read(path)
    assert is_texts(path)
    assert found.task == "tags" and found.facts.is_tokenized  # type: ignore[union-attr]
    assert strings(found) == ["NA\n,\nruns", '"\nYes']
    assert found.labels == ("INTJ", "PROPN", "PUNCT", "VERB")
    assert found.tags is not None
    assert found.tags.numbers.tolist() == [1, 2, 3, 2, 0] and found.tags.starts.tolist() == [
        0,
        3,
        5,
    ]
    assert found.targets.tolist() == [[0, 1, 1, 1], [1, 0, 1, 0]]
    assert found.targets.dtype == np.float32
    assert found.paths == ("t.csv#0", "t.csv#1")
    assert "2 sentences of 5 tokens from t.csv." in found.notes
    assert "Column upos gives 4 tags (pass --target xpos for the others)" in said(found)
    other = read(path, target=("xpos",))
    assert other.labels == (",", "NNP", "UH", "VBZ", "``")
    assert other.take([1]).tags.numbers.tolist() == [4, 2]  # type: ignore[union-attr]


def test_tokens_are_sorted_by_their_position(tmp_path: Path) -> None:
    rows = TOKENS.splitlines()
    path = write(tmp_path / "t.csv", "\n".join([rows[0], *reversed(rows[1:])]))
    assert strings(read(path)) == ['"\nYes', "NA\n,\nruns"]
    write(path, TOKENS.replace("0,2,runs", "0,1,runs"))
    assert "sentence 0 has two tokens at position 1, the second in row 4" in refused(path)
    write(path, TOKENS.replace("0,2,runs", "0,x,runs"))
    assert "column position holds no number in row 4" in refused(path)


def test_a_sentence_that_is_named_once_goes_on_below(tmp_path: Path) -> None:
    rows = "Sentence #,Word,Tag\nSentence: 1,Rome,B\n,falls,O\nSentence: 2,I,O\n,see,O\n,Bath,B\n"
    found = read(write(tmp_path / "t.csv", rows))
    assert strings(found) == ["Rome\nfalls", "I\nsee\nBath"] and found.labels == ("B", "O")
    assert "an empty cell in column Sentence # is the sentence above" in said(found)
    text = refused(write(tmp_path / "u.csv", rows.replace("Sentence: 1", "")))
    assert "column Sentence # names no sentence in row 2" in text


def test_columns_of_tokens_may_be_named(tmp_path: Path) -> None:
    rows = "s,w,t\n1,a,x\n1,b,y\n2,c,x\n"
    path = write(tmp_path / "t.csv", rows)
    assert not is_texts(path)
    found = read(path, id_column="s", text_column="w", task="tags")
    assert strings(found) == ["a\nb", "c"]
    text = refused(path, ConfigError, id_column="z", text_column="w", task="tags")
    assert "has no column z (for id_column)" in text


def test_tokens_without_a_tag_stop_or_leave_their_sentence_out(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", TOKENS.replace("runs,VERB", "runs,"))
    text = refused(path)
    assert "1 token without a tag in column upos, in row 4" in text
    found = read(path, on_bad_file="skip")
    assert strings(found) == ['"\nYes'] and found.paths == ("t.csv#1",)
    assert "Left out, 1 sentence of t.csv with a token without a tag." in found.notes
    write(path, TOKENS.replace("runs", ""))
    assert "column token has no token in row 4" in refused(path)
    nothing = write(tmp_path / "u.csv", "sentence_id,token,tag\n1,a,\n")
    assert "holds no sentence with tags" in refused(nothing, on_bad_file="skip")


def test_one_tag_or_many_columns_are_told(tmp_path: Path) -> None:
    one = write(tmp_path / "t.csv", "sentence_id,token,tag\n1,a,x\n1,b,x\n")
    assert "column tag: at least 2 classes are needed, only x was found" in refused(one)
    many = write(tmp_path / "u.csv", "sentence_id,token,pos,ner\n1,a,x,O\n1,b,y,B\n")
    text = refused(many, ConfigError)
    assert "more than one column that could be learned" in text and "--target pos" in text
    assert "a token has one tag" in refused(many, ConfigError, target=("pos", "ner"))
    bare = write(tmp_path / "v.csv", "sentence_id,token\n1,a\n1,b\n")
    assert "has no column of tags to learn" in refused(bare, ConfigError)
    assert "path_column has no effect on tokens with tags" in refused(
        many, ConfigError, path_column="pos"
    )
    assert is_texts(many) and not is_texts(many, task="regress")


def test_split_and_groups_of_sentences_must_be_the_same_in_each(tmp_path: Path) -> None:
    rows = ["sentence_id,token,tag,split,writer"]
    rows += [
        f"{s},w{t},{'xy'[t]},{'test' if s == 2 else 'train'},{s // 2}"
        for s in range(3)
        for t in range(2)
    ]
    path = write(tmp_path / "t.csv", "\n".join(rows))
    found = read(path, group="writer")
    assert found.given.tolist() == [TRAIN, TRAIN, TEST]
    assert found.groups is not None and found.groups.tolist() == [0, 0, 1]
    assert "Column writer gives 2 groups" in said(found)
    assert read(path, folds="writer").folds.tolist() == [0, 0, 1]  # type: ignore[union-attr]
    rows[1] = rows[1].replace("train", "test")
    write(path, "\n".join(rows))
    text = refused(path, group="writer")
    assert "sentence 0 has two values in column split, the second in row 3" in text


def test_conllu_words_are_read_and_the_rest_is_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conllu", CONLLU)
    found = read(path)
    assert is_texts(path)
    assert strings(found) == ["do\nn't", "#"]
    assert found.labels == ("AUX", "PART", "SYM") and found.paths == ("a.conllu#1", "a.conllu#2")
    assert "left out, 1 token of several words (the words are read) and 1 empty node" in said(found)
    assert read(path, target=("xpos",)).labels == ("NN", "RB", "VB")
    crlf = write(tmp_path / "b.conllu", CONLLU.replace("\n", "\r\n"))
    assert strings(read(crlf)) == strings(found)


def test_conllu_without_one_kind_of_tags_has_the_other(tmp_path: Path) -> None:
    text = CONLLU
    for tag in ("AUX", "PART", "SYM"):
        text = text.replace(f"\t{tag}\t", "\t_\t")
    path = write(tmp_path / "a.conllu", text)
    assert read(path).labels == ("NN", "RB", "VB")
    assert "has no tags upos (for target)" in refused(path, ConfigError, target=("upos",))


def test_lines_that_are_no_conllu_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conllu", CONLLU + "3\tmore\n")
    assert "is not CoNLL-U in line 9: 2 columns between tabs instead of 10" in refused(path)
    write(path, CONLLU.replace("1\t#", "1\t"))
    assert "has no word in line 8" in refused(path)
    assert "holds no sentence" in refused(write(path, "# nothing\n\n"))
    write(path, CONLLU)
    text = refused(path, ConfigError, group="doc")
    assert "group has no effect on CoNLL-U files: it names a column of a table" in text
    assert "task regress cannot be read from one tag a token" in refused(
        path, ConfigError, task="regress"
    )


def test_conllu_files_of_one_folder_are_a_split_by_their_names(tmp_path: Path) -> None:
    for part in ("train", "dev", "test"):
        write(tmp_path / f"x-ud-{part}.conllu", CONLLU)
    assert is_texts(tmp_path)
    found = read(tmp_path)
    assert found.given.tolist() == [TRAIN, TRAIN, VALID, VALID, TEST, TEST]
    assert "from the names of the files: train 2 (x-ud-train.conllu), valid 2" in said(found)
    write(tmp_path / "more.conllu", CONLLU)
    assert "more.conllu names no side of the split" in refused(tmp_path)


def test_tables_of_tokens_in_one_folder_are_a_split_too(tmp_path: Path) -> None:
    for part in ("train", "dev", "test"):
        write(tmp_path / f"{part}.csv", TOKENS)
    write(tmp_path / "x-dev.conllu", CONLLU)  # a part of a split, with nothing to train on
    found = read(tmp_path)
    assert found.given.tolist() == [TRAIN] * 2 + [VALID] * 2 + [TEST] * 2
    assert found.tags is not None and len(found.tags.numbers) == 15


# For answers


def test_texts_and_sentences_of_a_file_have_names(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", REVIEWS)
    named = texts.named_texts(path, None)
    assert named[0] == (f"{path}#2", "a film for everyone") and len(named) == 4
    alone = write(tmp_path / "a.txt", " so\nit goes ")
    assert texts.named_texts(alone, None) == [(str(alone), "so\nit goes")]
    assert texts.named_sentences(alone, str.split) == [
        (f"{alone}#1", ["so"]),
        (f"{alone}#2", ["it", "goes"]),
    ]
    conllu = write(tmp_path / "a.conllu", CONLLU)
    assert texts.named_sentences(conllu, str.split)[0] == (f"{conllu}#1", ["do", "n't"])
    bare = write(tmp_path / "b.csv", "sentence_id,token\n1,a\n1,b\n")
    assert texts.named_sentences(bare, str.split) == [(f"{bare}#1", ["a", "b"])]
    with pytest.raises(SourceError, match="column text holds no text in row 6"):
        texts.named_texts(write(path, REVIEWS + "\u200b,good\n"), None)
    with pytest.raises(SourceError, match=r"none\.txt cannot be opened: No such file"):
        texts.named_texts(tmp_path / "none.txt", None)


# Real data


@pytest.mark.parametrize(
    ("name", "count", "classes"),
    [
        ("trec_train.csv", 5452, 6),
        ("sst2_dev.csv", 872, 2),
        ("mr_polarity.csv", 10_662, 2),
        ("sms_spam.tsv", 5574, 2),
        ("names", 20_050, 18),
    ],
)
def test_real_texts_are_read_whole(data_folder: Path, name: str, count: int, classes: int) -> None:
    path = data_folder / "text" / name
    found = read(path)
    assert is_texts(path) and len(found) == count and len(found.labels) == classes


def test_real_sentences_are_read_whole(data_folder: Path) -> None:
    found = read(data_folder / "ud_ewt")
    assert np.bincount(found.given).tolist() == [12_544, 2001, 2077]
    assert found.tags is not None and len(found.tags.numbers) == 254_818
    assert len(found.labels) == 17
    dev = read(data_folder / "ud_ewt" / "en_ewt-ud-dev.conllu")
    assert dev.tags is not None and len(dev.tags.numbers) == 25_147
    rows = np.flatnonzero(found.given == VALID)
    assert strings(dev) == [strings(found)[row] for row in rows]


def test_real_odd_texts_end_in_a_message_or_are_read(data_folder: Path) -> None:
    folder = data_folder / "odd" / "text"
    assert "empty.txt is empty (0 bytes)" in refused(folder)
    assert "only_whitespace.txt holds only white space" in refused(folder)
    found = read(folder, on_bad_file="skip")
    assert set(found.labels) == {"emoji_rtl_combining", "very_long_line"}
    assert not any("\u200b" in text or "\ufeff" in text for text in strings(found))
    text = refused(data_folder / "odd" / "tables" / "single_class.csv")
    assert "at least 2 classes are needed, only spam was found" in text


@pytest.mark.parametrize(
    "settings", [{}, {"kind": "texts"}, {"kind": "texts", "path_column": "file"}]
)
def test_names_of_files_are_never_learned_as_texts(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    rows = ["file,label"]
    for number in range(12):
        label = ("kind", "rude")[number % 2]
        path = tmp_path / label / f"{number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"this is number {number} and it is {label}")
        rows.append(f"{label}/{number}.txt,{label}")
    table = tmp_path / "list.csv"
    table.write_text("\n".join(rows) + "\n")
    with pytest.raises(SourceError, match=r"column file names files of text.*\n.*into a folder"):
        sources.read(table, DataConfig(target=("label",), **settings))
    with pytest.raises(SourceError, match=r"column file names files of text"):
        texts.named_texts(table, "file")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "a JPEG picture"),
        (b"PK\x03\x04\x14\x00\x06\x00", "a spreadsheet, a document or a ZIP archive"),
        (b"\x00\x00\x00\x20ftypisom\x00", "a video or picture"),
    ],
)
def test_what_is_no_text_is_called_what_it_is(tmp_path: Path, content: bytes, what: str) -> None:
    for name in ("a.txt", "a.csv"):
        (tmp_path / name).write_bytes(content * 9)
        with pytest.raises(SourceError, match=f"is no text: its first bytes are those of {what}"):
            texts.named_texts(tmp_path / name, None)
    with pytest.raises(SourceError, match=f"is no text: its first bytes are those of {what}"):
        sources.read(tmp_path / "a.csv", DataConfig(kind="series"))
    (tmp_path / "b.txt").write_bytes(b"RIFF is a word that a text may begin with")
    assert texts.text_of(tmp_path / "b.txt").startswith("RIFF is")


@pytest.mark.parametrize("text", ["\u5f71" * 150, "/" * 300, "x" * 5000])
def test_texts_that_no_path_can_be_are_texts(tmp_path: Path, text: str) -> None:
    table = tmp_path / "a.csv"
    rows = [f"{text} {number} and more words,{'ab'[number % 2]}" for number in range(12)]
    table.write_text("\n".join(["text,label", *rows]) + "\n", "utf-8")
    assert len(read(table, target=("label",))) == 12
