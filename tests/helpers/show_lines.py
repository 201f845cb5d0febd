"""Lines of transcription files."""

import json


def event(start, end, content, role="comedian", **more):
    return {"start": start, "end": end, "role": role, "content": content, **more}


def line(name, *events, **more):
    return json.dumps({"video_id": name, "timeline": list(events), **more})
