"""A store with scans in it is migrated without losing any: SQLite empties the children of a table that is made anew."""

from __future__ import annotations

from uuid import uuid4

from alembic import command
from sqlalchemy import text

from footprint.asset_scope import AssetScope
from footprint.store import engine, migrate, open_store
from footprint.store.assets import roots_of
from footprint.store.tables import Asset, Scan

EARLIER = "0003"
ROWS = """
INSERT INTO assets (id, name, created_at) VALUES (:asset, '127.0.0.1', '2026-01-01');
INSERT INTO asset_roots (id, asset_id, kind, value) VALUES (1, :asset, 'host', '127.0.0.1');
INSERT INTO scans (id, asset_id, target, target_kind, policy_name, policy, comment, origin, task_id, status, state,
    progress, created_at, attempt, warnings, modules, counts) VALUES (:scan, :asset, '127.0.0.1', 'host', 'quick', '{}',
    '', 'api', :task, 'SUCCESS', 'Completed', 100, '2026-01-01', 1, '[]', '[]', '{}');
INSERT INTO module_runs (id, scan_id, module, batch, attempt, depth, status, inputs, progress, records, coverage,
    command) VALUES (1, :scan, 'nmap', 1, 1, 0, 'done', '[]', 100, 1, '{}', '');
INSERT INTO coverage (module_run_id, subject, outcome, note) VALUES (1, '127.0.0.1', 'answered', '');
INSERT INTO services (id, asset_id, address, order_key, port, protocol, cpes, first_seen, last_seen)
    VALUES (1, :asset, '127.0.0.1', '4', 22, 'tcp', '[]', '2026-01-01', '2026-01-01');
INSERT INTO sightings (id, scan_id, module_run_id, kind, entity_id, facts) VALUES (1, :scan, 1, 'service', 1, '[]')
"""
TABLES = ("assets", "asset_roots", "scans", "module_runs", "coverage", "services", "sightings")


def _made_earlier(store_url: str) -> None:
    keys = {name: uuid4() for name in ("asset", "scan", "task")}
    store = engine.connect(store_url)
    with store.write() as session:
        config = engine._config()
        config.attributes["connection"] = session.connection()
        command.upgrade(config, EARLIER)
        given = {name: key.hex if store_url.startswith("sqlite") else str(key) for name, key in keys.items()}
        for statement in ROWS.split(";"):
            used = {name: value for name, value in given.items() if f":{name}" in statement}
            session.execute(text(statement), used)
    store.close()


def test_what_an_earlier_version_wrote_is_all_there_afterwards(store_url: str) -> None:
    _made_earlier(store_url)
    migrate(store_url)
    store = open_store(store_url)
    with store.read() as session:
        counted = {table: session.execute(text(f"SELECT count(*) FROM {table}")).scalar() for table in TABLES}
        (scan,) = session.query(Scan)
        assert (AssetScope.unpack(scan.scope), scan.not_listed) == (AssetScope(), 0)
        (asset,) = session.query(Asset)
        assert roots_of(session, [asset.id]) == ("127.0.0.1",)
    store.close()
    assert counted == dict.fromkeys(TABLES, 1)
