"""Where each author's epochs stand."""

from ledger.chains import Chains, Head
from statements.header import decode_header
from tests.unit.ledger.cast import Cast


def test_nothing_is_known_of_an_author_who_said_nothing(cast: Cast) -> None:
    chains = Chains()
    assert chains.epoch(cast.party_key.key_id, bytes(16)) is None
    assert list(chains.heads(cast.party_key.key_id, 9)) == []


def test_each_place_of_an_epoch_keeps_the_index_of_its_record(cast: Cast) -> None:
    chains = Chains()
    said = [cast.party.open(), *cast.party.summaries(2)]
    for index, one in zip((4, 9, 2**40), said, strict=True):
        chains.push(decode_header(one.header), index, one.id)
    header = decode_header(said[0].header)
    epoch = chains.epoch(header.author, header.epoch)
    assert epoch is not None
    assert list(epoch.indices) == [4, 9, 2**40]
    assert epoch.head == said[-1].id


def test_heads_come_oldest_epoch_first(cast: Cast) -> None:
    chains = Chains()
    said = [cast.party.open(), cast.party.summary(), cast.party.open()]
    for index, one in enumerate(said):
        chains.push(decode_header(one.header), index, one.id)
    old, new = decode_header(said[0].header), decode_header(said[2].header)
    assert list(chains.heads(old.author, 9)) == [
        Head(old.epoch, 1, said[1].id, 1),
        Head(new.epoch, 0, said[2].id, 2),
    ]


def test_what_is_taken_back_leaves_the_chain_as_it_was(cast: Cast) -> None:
    chains = Chains()
    said = [cast.party.open(), cast.party.summary()]
    headers = [decode_header(one.header) for one in said]
    for index, one in enumerate(said):
        chains.push(headers[index], index, one.id)
    chains.pop(headers[1])
    assert [head.statement_id for head in chains.heads(headers[0].author, 9)] == [said[0].id]
    chains.pop(headers[0])
    assert chains.epoch(headers[0].author, headers[0].epoch) is None
    assert list(chains.heads(headers[0].author, 9)) == []
