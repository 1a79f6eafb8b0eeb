"""Milvus keeps the contract of every place that an index can be in."""

from tests.contract.test_index_places import IndexContract, StoreContract


class TestMilvus(IndexContract):
    scheme = "milvus"


class TestStoreInMilvus(StoreContract):
    scheme = "milvus"
