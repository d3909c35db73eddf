"""A feed to try the client on: an embedded server, and a modest analyser that follows logs and feeds it."""

from realtime_client.demo.analyser import Analyser
from realtime_client.demo.feed import FeedServer
from realtime_client.demo.follow import FollowedFile, FollowedInput, Line, LineSource, follow
from realtime_client.demo.generated import GeneratedLog
from realtime_client.demo.log_feed import LogFeed
from realtime_client.demo.log_formats import ParsedLine, parse_line

__all__ = [
    "Analyser",
    "FeedServer",
    "FollowedFile",
    "FollowedInput",
    "GeneratedLog",
    "Line",
    "LineSource",
    "LogFeed",
    "ParsedLine",
    "follow",
    "parse_line",
]
