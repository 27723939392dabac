"""The gate's statistics that are counts and sums, where tables outgrow one machine: as SQL.

The same statements run embedded (polars) and on Spark; what they return is as small as the cells
that are grouped by, and goes through the same formulas as tables in memory.
"""

from gitops.validate.sql.engines import Embedded as Embedded
from gitops.validate.sql.engines import Engine as Engine
from gitops.validate.sql.engines import Spark as Spark
from gitops.validate.sql.engines import spark_session as spark_session
from gitops.validate.sql.measure import Measured as Measured
from gitops.validate.sql.measure import measure as measure
from gitops.validate.sql.rows import Evaluations as Evaluations
