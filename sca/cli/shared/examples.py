"""Examples of every command for its help. Each is a line of a page of the documentation; the tests run its blocks."""

from collections.abc import Mapping

__all__ = ["EXAMPLES"]

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "demo": ("sca demo",),
    "search": ('sca search "stand-up comedy" --min-length 600 -o dataset/shows.json',),
    "download": (
        "sca download dataset/shows.json --only-audio",
        'sca download talks.txt "https://www.youtube.com/@aclub" --only-audio --download-count 20',
    ),
    "transcode": (
        "sca transcode dataset/video_downloads dataset/audio_outputs any",
        "sca transcode talk.m4a clean --loudness -23",
    ),
    "transcribe": ("sca transcribe dataset/audio_outputs", "sca transcribe podcasts -o podcasts.jsonl --diarize"),
    "convert": ("sca convert",),
    "synth": (
        "sca synth --shipped cafe --shipped lost-keys -o talk",
        'sca synth --topic "the weather" --conversations 20 --turns 30 -o talk',
    ),
    "calibrate": ("sca calibrate --model whisper-base",),
    "build-duplex": (
        "sca build-duplex my_corpus -o my_data",
        "sca build-duplex podcasts.jsonl -o my_data --audio-dir podcasts",
    ),
    "verify": ("sca verify my_data", "sca verify my_data --source my_corpus"),
    "inspect": ("sca inspect my_data", "sca inspect my_data D0001_S0001_0 --html conversation.html"),
    "browse": ("sca browse my_data",),
    "export": ("sca export my_data --to parquet -o my_parquet",),
    "train": ("sca train my_data -o my_run", "sca train my_data -o my_run --resume"),
    "run": ("sca run synth --dry-run", "sca run podcast.toml --var audio=podcasts"),
    "status": ("sca status dataset",),
    "live": ("sca live --mic", "sca live --file question.flac -o answer.wav"),
    "serve": ("sca serve --engine parrot",),
    "watch": ("sca watch clip.mp4 --mute", "sca watch rtsp://camera.local/stream --profile security"),
    "turn serve": ("sca turn serve --device cuda",),
    "turn ask": ("sca turn ask question.mp3",),
    "turn watch": ("sca turn watch --file talk.flac --json",),
    "turn start": ("sca turn start --port 8000",),
    "turn stop": ("sca turn stop --purge",),
    "turn reload": ("sca turn reload",),
    "turn logs": ("sca turn logs --tail",),
    "turn warmup": ("sca turn warmup --requests 3",),
    "turn bench": ("sca turn bench --requests 20 --concurrency 4",),
    "eval fdb": ("sca eval fdb fdb",),
    "eval turns": ("sca eval turns dataset/audio_outputs -o turns.json",),
    "eval talk": ("sca eval talk --talks 2 -o talk_report",),
    "eval reactions": ("sca eval reactions reaction_set/lines.jsonl reaction_set/truth.jsonl",),
    "say": ('sca say "Good morning." --engine espeak -o morning.wav', "sca say --list"),
    "chat": ("sca chat --offline", "sca chat --offline --mic"),
    "devices": ("sca devices",),
    "models list": ("sca models list",),
    "models get": ("sca models get whisper-base smollm2 piper-joe",),
    "models check": ("sca models check",),
    "models path": ("sca models path whisper-base",),
    "models remove": ("sca models remove whisper-base",),
    "doctor": ("sca doctor",),
    "config show": ("sca config show --set duplex.lead_chunks=0",),
    "config default": ("sca config default > sca.toml",),
}
