"""A Flask app. One blocking session serves the threads of a process; each worker process opens its own.

RIVYA_API_KEY=... flask --app examples/flask_app.py run --port 8080
curl -d prompt='A red kite' http://127.0.0.1:8080/pictures
"""

from flask import Flask, request
from flask.typing import ResponseReturnValue

from rivya_async import GenerationFailedError
from rivya_async.blocking import BlockingSession

app = Flask(__name__)
session = BlockingSession()


@app.post("/pictures")
def make_picture() -> ResponseReturnValue:
    try:
        return session.generate("z-image", request.form["prompt"], timeout=60).to_dict()
    except GenerationFailedError as error:
        return {"error": str(error)}, 502
