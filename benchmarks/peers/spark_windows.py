"""The 24 windowed features in PySpark, local mode: `python spark_windows.py EVENTS OUT CORES`."""

from __future__ import annotations

import sys

from _loop import serve
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as f

WINDOWS = (1, 7, 14, 30)


def main() -> None:
    files, out, cores = sys.argv[1:]
    spark = (
        SparkSession.builder.master(f"local[{cores}]")
        .config("spark.driver.memory", "8g")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", str(4 * int(cores)))
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")

    def work() -> None:
        features(spark, files).write.mode("overwrite").parquet(out)

    serve(work, "pyspark")


def features(spark: SparkSession, files: str) -> DataFrame:
    events = spark.read.option("recursiveFileLookup", "true").option("pathGlobFilter", "*.parquet").parquet(files)
    tiles = events.groupBy("entity_id", f.unix_date(f.to_date("time")).alias("day")).agg(
        f.count("*").alias("n"),
        f.sum("amount").alias("a"),
        f.min("amount").alias("lo"),
        f.max("amount").alias("hi"),
        f.sum("quantity").alias("q"),
    )
    outputs = []
    for days in WINDOWS:
        w = Window.partitionBy("entity_id").orderBy("day").rangeBetween(1 - days, 0)
        count, amount = f.sum("n").over(w), f.sum("a").over(w)
        outputs += [
            count.alias(f"events_{days}d"),
            amount.alias(f"amount_{days}d"),
            (amount / count).alias(f"mean_amount_{days}d"),
            f.min("lo").over(w).alias(f"least_amount_{days}d"),
            f.max("hi").over(w).alias(f"largest_amount_{days}d"),
            f.sum("q").over(w).alias(f"quantity_{days}d"),
        ]
    return tiles.select("entity_id", f.date_from_unix_date("day").alias("day"), *outputs)


if __name__ == "__main__":
    main()
