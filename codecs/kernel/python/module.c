/* The extension module: no state, only functions. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern PyMethodDef frontend_methods[];
extern PyMethodDef coder_methods[];
extern PyMethodDef lapped_methods[];
extern PyMethodDef adaptive_methods[];
extern PyMethodDef network_methods[];
extern PyMethodDef token_methods[];
extern PyMethodDef tensor_methods[];

static int add_functions(PyObject *module)
{
    PyMethodDef *tables[] = {
        frontend_methods, coder_methods, lapped_methods, adaptive_methods, network_methods, token_methods,
        tensor_methods,
    };
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (PyModule_AddFunctions(module, tables[i]) < 0)
            return -1;
    return 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)add_functions},
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_kernel", .m_doc = "Native loops of latentstore.codecs.", .m_slots = slots,
};

PyMODINIT_FUNC PyInit__kernel(void)
{
    return PyModuleDef_Init(&definition);
}
