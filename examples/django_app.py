"""A Django project in one file, with a view for threads, a view for event loops and a webhook.

RIVYA_API_KEY=... RIVYA_WEBHOOK_SECRET=... python examples/django_app.py runserver 8080
curl -d prompt='A red kite' http://127.0.0.1:8080/pictures
curl -d prompt='A red kite' http://127.0.0.1:8080/async/pictures

WSGI and `runserver` give each async view an event loop of its own. Under an ASGI server, such as
`uvicorn --app-dir examples django_app:asgi`, all async views of a process share one event loop: create one
`RivyaSession()` beside `session` then, and use it in all of them.
"""

import os
import sys
from typing import Any

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from rivya_async import RivyaSession, WebhookVerificationError
from rivya_async.blocking import BlockingSession
from rivya_async.receiver import verify

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    DEBUG=True,
    MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ.get("DJANGO_SECRET_KEY", "for development only"),
)
session = BlockingSession()


def make_picture(request: HttpRequest) -> JsonResponse:
    return JsonResponse(session.generate("z-image", str(request.POST["prompt"]), timeout=60).to_dict())


async def make_picture_async(request: HttpRequest) -> JsonResponse:
    async with RivyaSession() as own:
        job = await own.generate("z-image", str(request.POST["prompt"]), timeout=60)
    return JsonResponse(job.to_dict())


def receive_webhook(request: HttpRequest) -> HttpResponse:
    headers: Any = request.headers
    try:
        event = verify(request.body, headers, os.environ["RIVYA_WEBHOOK_SECRET"])
    except WebhookVerificationError as error:
        return HttpResponse(str(error).encode(), status=400)
    if event.generation and event.generation.succeeded:
        session.download(event.generation, "pictures/")  # keeps a file of an event that came before
    return HttpResponse()


urlpatterns = [
    path("pictures", csrf_exempt(make_picture)),  # for curl: a form in a page sends {% csrf_token %} instead
    path("async/pictures", csrf_exempt(make_picture_async)),
    path("hooks/rivya", csrf_exempt(receive_webhook)),  # deliveries have a signature, and no CSRF token
]
application = get_wsgi_application()
asgi = get_asgi_application()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
