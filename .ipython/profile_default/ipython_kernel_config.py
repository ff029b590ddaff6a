# Read by every kernel that is started with IPYTHONDIR set to the folder above: papermill, nbval and JupyterLab
# then write the same bytes.
c = get_config()  # noqa: F821
c.IPKernelApp.log_level = (
    50  # ipykernel 7 warns about plain TCP at every start, and calls its own shutdown an error
)
c.HistoryManager.enabled = False  # kernels that run side by side would wait for one history file
c.InlineBackend.figure_formats = ["png"]
c.InlineBackend.print_figure_kwargs = {"bbox_inches": "tight", "metadata": {"Software": None}}
c.InlineBackend.rc = {"svg.hashsalt": "tierlab"}
