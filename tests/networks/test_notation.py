"""The grammar of networks as text: what it means, what it refuses and where, and writing it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridcell.errors import NetworkError
from gridcell.networks import Spec, parse, write
from gridcell.networks.notation import SIGNATURES

from ..reference.comparison import quick


def meaning(chain):
    """Layers without where they stood in the text."""
    return [(s.name, s.options, [meaning(inner) for inner in s.chains]) for s in chain]


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("conv(12, 3)", "conv", {"filters": 12, "kernel": 3}),
        ("conv(12, 3x5)", "conv", {"filters": 12, "kernel": (3, 5)}),
        ("conv( 12 ,kernel = 3x5x7 )", "conv", {"filters": 12, "kernel": (3, 5, 7)}),
        ("conv(64, time=8)", "conv", {"filters": 64, "time": 8}),
        (
            "conv(8, 3, stride=2x1, padding=valid, dilation=2, groups=4)",
            "conv",
            {
                "filters": 8,
                "kernel": 3,
                "stride": (2, 1),
                "padding": "valid",
                "dilation": 2,
                "groups": 4,
            },
        ),
        ("conv(8, 3, padding=0)", "conv", {"filters": 8, "kernel": 3, "padding": 0}),
        ("maxpool(2)", "maxpool", {"size": 2}),
        ("avgpool(time=4, stride=2)", "avgpool", {"time": 4, "stride": 2}),
        ("relu", "relu", {}),
        ("relu()", "relu", {}),
        ("leaky_relu(0.2)", "leaky_relu", {"slope": 0.2}),
        ("leaky_relu(1)", "leaky_relu", {"slope": 1}),
        ("leaky_relu(1e-3)", "leaky_relu", {"slope": 0.001}),
        ("leaky_relu(.5)", "leaky_relu", {"slope": 0.5}),
        ("dropout(p=0.5)", "dropout", {"p": 0.5}),
    ],
)
def test_a_layer_is_read_with_its_options(text, name, options):
    (spec,) = parse(text)
    assert (spec.name, spec.options) == (name, options)


def test_the_text_s_own_example_is_read():  # S6
    chain = parse("conv(12, 3) relu maxpool(2) flatten dense(10)")
    assert [spec.name for spec in chain] == ["conv", "relu", "maxpool", "flatten", "dense"]
    assert [spec.start for spec in chain] == [0, 12, 17, 28, 36]


def test_spaces_and_line_ends_separate_and_mean_nothing():
    assert meaning(parse("\n conv( 12,3 )\n\trelu ")) == meaning(parse("conv(12, 3) relu"))


def test_a_repeated_group_is_written_out_and_counted():
    chain = parse("2*(conv(8, 3) 3*(relu)) flatten")
    assert [spec.name for spec in chain] == [*["conv", "relu", "relu", "relu"] * 2, "flatten"]
    assert [spec.repetition for spec in chain] == [
        "1 of 2",
        "1 of 2, 1 of 3",
        "1 of 2, 2 of 3",
        "1 of 2, 3 of 3",
        "2 of 2",
        "2 of 2, 1 of 3",
        "2 of 2, 2 of 3",
        "2 of 2, 3 of 3",
        "",
    ]


def test_layers_around_layers_are_read_to_any_depth():
    (spec,) = parse("parallel(residual(2*(conv(8, 3) relu)), parallel(relu, tanh elu))")
    assert spec.name == "parallel"
    left, right = spec.chains
    assert [inner.name for inner in left[0].chains[0]] == ["conv", "relu", "conv", "relu"]
    assert [[inner.name for inner in chain] for chain in right[0].chains] == [
        ["relu"],
        ["tanh", "elu"],
    ]


def test_many_layers_side_by_side_are_not_deep():
    assert len(parse("residual(relu) " * 60)) == 60


MISTAKES = [
    # text, where the mark stands, what is said
    (
        "",
        0,
        "the network is empty; write for instance conv(16, 3) relu maxpool(2).",
    ),
    ("conv(16, 3) maxpol(2)", 12, "maxpol is not a layer. Did you mean maxpool?"),
    ("relu zzz", 5, "zzz is not a layer."),
    ("ensemble(conv(4, 3) flatten, 3)", 29, "ensemble takes 3 by its name: members=3."),
    ("relu ; tanh", 5, "a layer cannot begin with ';'."),
    ("relu)", 4, "a layer cannot begin with ')'."),
    ("3x3", 0, "a layer cannot begin with '3x3'."),
    ("conv 16", 0, "conv needs its filters: conv(32)."),
    ("relu dense()", 5, "dense needs its width: dense(32)."),
    ("embed", 0, "embed needs its width: embed(32)."),
    ("whiten", 0, "whiten needs its kernel: whiten(3)."),
    ("conv(", 5, "')' is missing at the end of conv; found the end."),
    ("conv(16", 7, "')' is missing at the end of conv; found the end."),
    ("conv(16,", 8, "')' is missing at the end of conv; found the end."),
    ("conv(16 3)", 8, "',' is missing between the arguments of conv; found '3'."),
    (
        "conv(16, kernel=",
        16,
        "conv kernel must be a whole number or sizes such as 3x5; found the end.",
    ),
    (
        "conv(16, kernal=3)",
        9,
        "conv has no kernal; it takes filters, kernel, stride, padding, dilation, groups, time. "
        "Did you mean kernel?",
    ),
    ("relu(a=1)", 5, "relu has no a; it takes no arguments."),
    ("relu(3)", 5, "relu cannot take '3' here; it takes no arguments."),
    ("lstm(8, project)", 8, "project needs a value: project=..."),
    (
        "conv(16, 3, 5)",
        12,
        "conv cannot take '5' here; "
        "it takes filters, kernel, stride, padding, dilation, groups, time.",
    ),
    ("conv(16, 3, kernel=5)", 12, "kernel is given twice."),
    ("conv(filters=16, filters=16)", 17, "filters is given twice."),
    ("conv(kernel=3, 16)", 15, "'16' stands after a named argument; name it too."),
    ("conv(16.5, 3)", 5, "conv filters must be a whole number; found '16.5'."),
    ("conv(many, 3)", 5, "conv filters must be a whole number; found 'many'."),
    ("conv(3x3)", 5, "conv filters must be a whole number; found '3x3'."),
    ("conv(,)", 5, "conv filters must be a whole number; found ','."),
    ("conv(16, 2.5)", 9, "conv kernel must be a whole number or sizes such as 3x5; found '2.5'."),
    (
        "conv(16, 3, padding=full)",
        20,
        "conv padding must be a whole number or same or valid; found 'full'.",
    ),
    ("dropout(half)", 8, "dropout p must be a number; found 'half'."),
    ("leaky_relu(1e999)", 11, "leaky_relu slope must be a number; found '1e999'."),
    ("conv(1234567890, 3)", 5, "1234567890 has more than 9 digits."),
    ("conv(8, 3x1234567890)", 8, "1234567890 has more than 9 digits."),
    ("3 relu", 2, "'*' is missing after the repeat count; found 'relu'."),
    ("3*relu", 2, "'(' is missing after the *; found 'relu'."),
    ("3*(relu", 7, "')' is missing at the end of the repeated group; found the end."),
    ("relu 0*(relu)", 5, "a repeat count must be a whole number from 1."),
    ("-2*(relu)", 0, "a repeat count must be a whole number from 1."),
    ("1.5*(relu)", 0, "a repeat count must be a whole number from 1."),
    ("relu 2*()", 5, "there is nothing to repeat."),
    ("relu 20000*(relu)", 5, "the network has more than 10,000 layers."),
    ("relu 101*(100*(relu))", 5, "the network has more than 10,000 layers."),
    ("200*(residual(100*(relu)))", 0, "the network has more than 10,000 layers."),
    ("6000*(relu) 6000*(relu)", 12, "the network has more than 10,000 layers."),
    ("residual relu", 9, "'(' is missing after residual; found 'relu'."),
    ("residual(relu", 13, "')' is missing at the end of residual; found the end."),
    ("ensemble(relu,", 14, "')' is missing at the end of ensemble; found the end."),
    ("reversible(relu,", 16, "')' is missing at the end of reversible; found the end."),
    ("residual()", 0, "residual stands around one chain of layers."),
    ("residual(relu, tanh)", 0, "residual stands around one chain of layers."),
    ("parallel(relu)", 0, "parallel needs two or more branches, separated by commas."),
    ("relu parallel(relu,)", 5, "parallel needs two or more branches, separated by commas."),
    ("parallel(relu, tanh", 19, "')' is missing at the end of parallel; found the end."),
    ("parallel(relu, 3)", 16, "'*' is missing after the repeat count; found ')'."),
    ("residual(" * 60, 9 * 50, "layers are nested more than 50 deep."),
    ("1*(" * 5000, 3 * 50, "layers are nested more than 50 deep."),
]


@pytest.mark.parametrize(("text", "place", "message"), MISTAKES, ids=lambda value: str(value)[:30])
def test_a_mistake_is_shown_under_the_character_where_it_stands(text, place, message):
    with pytest.raises(NetworkError) as caught:
        parse(text)
    assert caught.value.message == f"{message}\n    {text}\n    {' ' * place}^"


def test_of_a_name_like_no_layer_s_all_layers_are_named():
    with pytest.raises(NetworkError) as caught:
        parse("relu zzz")
    assert caught.value.fix is not None
    named = caught.value.fix.removeprefix("write one of ").removesuffix(".").split(", ")
    assert {"conv", "lstm", "mirrored", "maxpool"} <= set(named)
    with pytest.raises(NetworkError) as caught:
        parse("maxpol(2)")
    assert caught.value.fix is None  # the likest is named already


def test_the_mark_stands_right_under_text_of_many_lines():
    with pytest.raises(NetworkError) as caught:
        parse("conv(8, 3)\n\tmaxpol(2)")
    _, shown, mark = str(caught.value).split("\n")
    assert shown[mark.index("^") :] == "maxpol(2)"


@quick
@given(st.text("conv(,)=*x123. relu-parallel\n", max_size=30))
def test_any_text_is_read_or_refused(text):
    try:
        assert parse(text)
    except NetworkError as error:
        assert "^" in str(error)


# Writing


def values(option):
    kinds = {
        int: st.integers(-3, 999_999_999) if not option.words else st.integers(0, 9),
        float: st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 9),
        tuple: st.lists(st.integers(0, 99), min_size=2, max_size=4).map(tuple),
        bool: st.just(True),
    }
    words = [st.sampled_from(option.words)] if option.words else []
    return st.one_of(*(kinds[kind] for kind in option.kinds), *words)


@st.composite
def plain_layers(draw):
    name = draw(st.sampled_from([name for name, sign in SIGNATURES.items() if not sign.chains]))
    signature = SIGNATURES[name]
    chosen = [o for o in signature.options if o in signature.required or draw(st.booleans())]
    chosen = draw(st.permutations(chosen))
    return Spec(name, {option: draw(values(signature.options[option])) for option in chosen})


def chains(layers):
    return st.lists(layers, min_size=1, max_size=4).map(tuple)


def containers(layers):
    return st.builds(lambda chain: Spec("residual", chains=(chain,)), chains(layers)) | st.builds(
        lambda branches: Spec("parallel", chains=tuple(branches)),
        st.lists(chains(layers), min_size=2, max_size=3),
    )


networks = chains(st.recursive(plain_layers(), containers, max_leaves=8))


@quick
@given(networks)
def test_what_is_written_is_read_as_the_same(chain):
    text = write(chain)
    assert meaning(parse(text)) == meaning(chain)
    assert write(parse(text)) == text


def test_arguments_are_written_by_place_where_they_stand_in_order():
    assert write(parse("conv(filters=12,kernel=3x5,time=2)")) == "conv(12, 3x5, time=2)"
    assert write(parse("conv(kernel=3, filters=12)")) == "conv(kernel=3, filters=12)"
    assert write(parse("2*(relu)")) == "relu relu"
