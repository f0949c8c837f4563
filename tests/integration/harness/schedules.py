"""What a daemon is told and what it remembers: a [schedule] of few jobs, and the memory that makes a job due without waiting for its time."""
import json
from datetime import datetime, timedelta, timezone

JOBS = ("full", "incremental", "logical", "config", "expire", "collect", "verify")


def schedule(**jobs):
    """A [schedule] in which nothing runs but what is named."""
    return "[schedule]\n" + "".join(f'{job} = "{jobs.get(job, "never")}"\n' for job in JOBS) + 'jitter = "0"\n'


def zone_where_it_is(hour):
    """Name of a zone in which it is that hour of the day now, 8 to 16: no time of the default schedule and no midnight passes while a test runs there at 14."""
    ahead = (hour - datetime.now(timezone.utc).hour + 11) % 24 - 11
    return f"Etc/GMT{-ahead:+d}"  # signs as POSIX has them


def quiet_defaults():
    """The default schedule, far from all of its times."""
    return f'[schedule]\ntimezone = "{zone_where_it_is(14)}"\n'


def stamp(when):
    return when.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def memory_of(**ages):
    """runs.json as a daemon of before would have left it: each job's last run was so long ago, and went well. `replicate`, of the repository as a whole, only where it is named."""
    now = datetime.now(timezone.utc)
    jobs = []
    for job in (*JOBS, *(("replicate",) if "replicate" in ages else ())):
        when = stamp(now - ages.get(job, timedelta(0)))
        jobs.append({"cluster": "@repository" if job == "replicate" else "main", "job": job, "through": when, "started": when, "ended": when, "end": "settled", "failures": 0, "exit_code": 0, "succeeded": when,
                     "running": False})
    return json.dumps({"version": 1, "jobs": jobs})
