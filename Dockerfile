# voxrank on a CPU, with the demo's models and the aligner of transcripts: `docker build -t voxrank .`, then `docker run --rm voxrank`.
# Your own data: docker run --rm -v "$PWD:/data" voxrank rank /data/train.csv --model logmel --out /data/ranked
FROM python:3.12-slim

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONHASHSEED=0 VOXRANK_CACHE=/tmp/voxrank-cache
WORKDIR /opt/voxrank

# torch alone in a layer: it is large, and changes rarely.
COPY constraints.txt ./
RUN pip install --extra-index-url https://download.pytorch.org/whl/cpu --constraint constraints.txt torch

COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install --extra-index-url https://download.pytorch.org/whl/cpu --constraint constraints.txt ".[align,demo,praat]" \
    && python -m voxrank_pack

RUN useradd --create-home --uid 1000 voxrank
USER 1000
WORKDIR /home/voxrank

ENTRYPOINT ["voxrank"]
CMD ["demo"]
