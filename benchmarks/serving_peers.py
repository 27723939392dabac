"""What others would write to serve the same model; run by path, in an environment that has them.

    serving_peers.py make FOLDER COEFFICIENTS INTERCEPT   the models of MLflow and BentoML
    serving_peers:echo, :bare, :fast                      applications for uvicorn
    serving_peers:Service                                 the service for BentoML

`MODEL` is the file of the model. (FastAPI reads annotations: here they are no texts.)
"""
# ruff: noqa: ANN401

import json
import os
import sys
from pathlib import Path
from typing import Any

NAMES = [f"x{number}" for number in range(10)]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """The limit: nothing is read or done."""
    body = await _body(receive)
    await _answer(send, body)


def bare() -> Any:
    """ONNX Runtime with as little around it as can be, nothing checked."""
    import numpy as np

    read, write = _json()
    session = _session()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        rows = read(await _body(receive))["rows"]
        feed = {name: np.array([[row[name]] for row in rows], np.float32) for name in NAMES}
        scores = session.run(["probabilities"], feed)[0][:, 1].tolist()
        await _answer(send, write({"scores": scores}))

    return app


def fast() -> Any:
    """FastAPI with a typed body."""
    import numpy as np
    from fastapi import FastAPI
    from pydantic import create_model

    fields: Any = dict.fromkeys(NAMES, (float, ...))
    row = create_model("Row", **fields)
    request = create_model("Request", rows=(list[row], ...))  # type: ignore[valid-type]
    app, session = FastAPI(), _session()

    @app.post("/")  # type: ignore[untyped-decorator]
    async def predict(body: request) -> dict[str, list[float]]:  # type: ignore[valid-type]
        rows = body.rows  # type: ignore[attr-defined]
        feed = {n: np.array([[getattr(row, n)] for row in rows], np.float32) for n in NAMES}
        return {"scores": session.run(["probabilities"], feed)[0][:, 1].tolist()}

    return app


def bento() -> Any:
    """BentoML with scikit-learn, rows as a table."""
    import bentoml
    import joblib
    import pandas as pd

    @bentoml.service(workers=1)
    class Service:
        def __init__(self) -> None:
            self.model = joblib.load(os.environ["MODEL"])

        @bentoml.api(route="/predict")  # type: ignore[untyped-decorator]
        def predict(self, rows: list[dict[str, float]]) -> list[float]:
            table = pd.DataFrame(rows, columns=NAMES)
            scores: list[float] = self.model.predict_proba(table)[:, 1].tolist()
            return scores

    return Service


def make(folder: Path, coefficients: list[float], intercept: float) -> None:
    """The model as scikit-learn has it, for MLflow (with a signature) and for BentoML."""
    import joblib
    import mlflow.sklearn
    import numpy as np
    import pandas as pd
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression

    chance = np.random.default_rng(1)
    table = pd.DataFrame(chance.normal(size=(50, len(NAMES))), columns=NAMES)
    model = LogisticRegression().fit(table, np.arange(50) % 2)
    model.coef_, model.intercept_ = np.array([coefficients]), np.array([intercept])
    joblib.dump(model, folder / "model.joblib")
    signature = infer_signature(table, model.predict_proba(table))
    mlflow.sklearn.save_model(
        model, folder / "mlflow", signature=signature, pyfunc_predict_fn="predict_proba"
    )


def _json() -> tuple[Any, Any]:
    try:
        import orjson
    except ImportError:
        import msgspec

        return msgspec.json.decode, msgspec.json.encode
    return orjson.loads, orjson.dumps


def _session() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(os.environ["MODEL"], options)


async def _body(receive: Any) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _answer(send: Any, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if os.environ.get("GITOPS_BENCH_BENTO"):
    Service = bento()
if __name__ == "__main__":
    make(Path(sys.argv[2]), json.loads(sys.argv[3]), float(sys.argv[4]))
