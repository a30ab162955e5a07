"""A Django project in one file, with a view for threads and a view for event loops.

RIVYA_API_KEY=... python examples/django_app.py runserver 8080
curl -d prompt='A red kite' http://127.0.0.1:8080/pictures
curl -d prompt='A red kite' http://127.0.0.1:8080/async/pictures
"""

import os
import sys

from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

from rivya_async import RivyaSession
from rivya_async.blocking import BlockingSession

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    DEBUG=True,
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ.get("DJANGO_SECRET_KEY", "for development only"),
)
session = BlockingSession()


def make_picture(request: HttpRequest) -> JsonResponse:
    return JsonResponse(session.generate("z-image", str(request.POST["prompt"]), timeout=60).to_dict())


async def make_picture_async(request: HttpRequest) -> JsonResponse:
    async with RivyaSession() as own:  # under WSGI, each request has an event loop of its own
        job = await own.generate("z-image", str(request.POST["prompt"]), timeout=60)
    return JsonResponse(job.to_dict())


urlpatterns = [path("pictures", make_picture), path("async/pictures", make_picture_async)]
application = get_wsgi_application()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
