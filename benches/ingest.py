# The six columns with one thread: prints seconds, rows and the peak of resident memory in MB.
import resource
import sys
import time

case, path = sys.argv[1], sys.argv[2]
if case == "duckdb":
    import duckdb

    connection = duckdb.connect()
    connection.execute("PRAGMA threads=1")
    columns = (
        "{step: 'BIGINT', loss: 'DOUBLE', lr: 'DOUBLE', "
        "tokens: 'BIGINT', batch_size: 'BIGINT', time: 'DOUBLE'}"
    )
    begin = time.perf_counter()
    connection.execute(
        f"CREATE TABLE t AS SELECT * FROM "
        f"read_json(?, format='newline_delimited', columns={columns})",
        [path],
    )
    seconds = time.perf_counter() - begin
    rows = connection.execute("SELECT count(loss) FROM t").fetchone()[0]
else:
    import polars as pl

    schema = {
        "step": pl.Int64,
        "loss": pl.Float64,
        "lr": pl.Float64,
        "tokens": pl.Int64,
        "batch_size": pl.Int64,
        "time": pl.Float64,
    }
    begin = time.perf_counter()
    frame = pl.scan_ndjson(path, schema=schema).collect()
    seconds = time.perf_counter() - begin
    rows = frame.height - frame["loss"].null_count()
print(seconds, rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)
