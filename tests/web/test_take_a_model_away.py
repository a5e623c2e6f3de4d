"""A model's archive, downloaded and unpacked, is what the owning library's `from_pretrained` loads."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from importlib import import_module

import pytest

from shared.models import Model
from shared.storage import sha256_of
from web.services import model_use

torch = pytest.importorskip("torch")


@pytest.fixture
def downloaded(alice, work, studio, tmp_path):
    """Puts what a family saved into storage, and unpacks what the archive brings."""

    def download(family, model):
        made, folder = tmp_path / "made", tmp_path / "unpacked"
        made.mkdir()
        import_module(f"worker.families.{family}").save(model, made)
        model_id = work.model(alice)
        with studio.db.writing() as session:
            row = session.get_one(Model, model_id)
            row.files = {}
            for path in sorted(made.iterdir()):
                sha256, size = studio.storage.put_file(f"{row.location}/{path.name}", path)
                row.files = {**row.files, path.name: {"sha256": sha256, "bytes": size}}
            files = row.files
        answer = alice.get(f"/models/{model_id}/archive")
        assert answer.status_code == 200
        zipfile.ZipFile(io.BytesIO(answer.data)).extractall(folder)
        assert {name: sha256_of(folder / name) for name in files} == {
            name: facts["sha256"] for name, facts in files.items()
        }
        assert json.loads((folder / "atelier.json").read_text())["generate_schema"]
        download.lines = model_use.python_lines(studio, alice.user, model_id, str(folder))
        return folder

    return download


def test_transformers_loads_the_archive_of_a_transformer_lm(downloaded):
    from tests.worker.families.test_transformer_lm import PROSE, train

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import AutoModelForCausalLM, AutoTokenizer
    run, _ = train(PROSE[:3000], steps=2, validate_every=2)
    folder = downloaded("transformer_lm", run.result)
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("to be or not", return_tensors="pt").input_ids
    assert ids.numel() > 1
    with torch.no_grad():
        theirs = model(ids).logits
        assert torch.allclose(theirs, run.result.eval()(ids), atol=1e-4)
    assert "from_pretrained" in (folder / "README.md").read_text()
    run_lines(downloaded.lines, folder)


def test_the_hub_mixin_loads_the_archive_of_a_vae(downloaded):
    from huggingface_hub import PyTorchModelHubMixin

    from tests.worker.families.test_vae import small_model
    from worker.families.vae import VAE

    class Theirs(VAE, PyTorchModelHubMixin):
        pass

    ours = small_model(8, 8).eval()
    folder = downloaded("vae", ours)
    theirs = Theirs.from_pretrained(str(folder)).eval()
    z, label = torch.randn(1, ours.config["latent_dim"]), torch.tensor([0])
    assert torch.equal(theirs.decode(z, label), ours.decode(z, label))
    assert (folder / "CARD.md").read_text().startswith("---\nmodel_name: ")
    made = run_lines(downloaded.lines, folder)
    assert made["picture"].shape == (1, 1, 8, 8)


def test_what_no_card_tells_is_loaded_by_its_family(downloaded):
    from tests.worker.families.test_vae import small_model

    folder = downloaded("vae", small_model(8, 8).eval())
    lines = model_use.OWN.format(family="vae", folder=json.dumps(str(folder)))
    assert run_lines(lines, folder)["model"].config["width"] == 8


def run_lines(lines, folder):
    """What a model's page shows under "Load it in Python", run as it stands."""
    assert str(folder) in lines
    made = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(lines, "lines", "exec"), made)
    return made
