"""Patients for the tests: a document written by hand, with much that is not known, and one made here."""

import numpy as np
from scipy.spatial.transform import Rotation

from navkit.files import (
    History,
    Landmark,
    LandmarkName,
    Mesh,
    Parent,
    Patient,
    PatientData,
    Registered,
    with_registrations,
)
from navkit.files._patient_document import patient_of
from navkit.geometry import pose_from
from navkit.reconstruction import Grid, Volume
from navkit.registration import register_to_image, register_to_patient

R_M_CT = pose_from(Rotation.from_rotvec([0.3, -0.5, 0.9]), [-31.5, 12.25, 80.0])
STEP = pose_from(Rotation.from_rotvec([-0.1, 0.05, 0.2]), [4.0, -7.0, 1.5])
SEVENTEEN = 1_505_738_096.0  # 2017-09-18 12:34:56

RICH = """<?xml version = '1.0'?>
<patient later="kept">
 <version_name>18.04 \u00e6\u00f8\u00e5</version_name><active_patient>/ole/Lab_4.cx3</active_patient>
 <managers a="1">
  <stateManager><recordSessions>
    <recordSession uid="Lab_1_20170918T124000" device="x"><category>Lab</category>
      <interval start="1505738400000" stop="1505738412345.5"/><note/></recordSession>
  </recordSessions><workflow>us</workflow></stateManager>
  <datamanager>
   <registrationHistory keep="me">
     <currentTime></currentTime>
     <registrationTransform timestamp="20170918T123456" type="Patient Landmarks" fixed="ct_1" quality="0.9">
0 -1 0 10
1  0 0 20.5
0  0 1 -3
0  0 0 1</registrationTransform>
     <registrationTransform timestamp="20170918T120000" type="Fast" moving="m">
1 0 0 1
0 1 0 2
0 0 1 3
0 0 0 1</registrationTransform>
   </registrationHistory>
   <!-- a comment -->
   <landmarkprops><landmarkprop uid="1" active="1" name="Nose" colour="red"/>
     <landmarkprop uid="2" active="0" name="Left ear"/></landmarkprops>
   <landmarks><landmark uid="1"><coord>1.5 -2 30</coord><timestamp>20170918T123000</timestamp><extra b="2"/>
   </landmark></landmarks>
   <center>  1 2   3.5 </center>
   <operatingTable>1 0 0 5
0 1 0 0
0 0 1 0
0 0 0 1</operatingTable>
   <data type="image" uid="ct_1" name="CT" strange="yes">
     <registrationHistory>
       <currentTime>20170918T130000</currentTime>
       <registrationTransform timestamp="" type="">1 0 0 7 0 1 0 8 0 0 1 9 0 0 0 1</registrationTransform>
       <registrationTransform timestamp="20170918T140000" type="too late">
1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1</registrationTransform>
       <parentFrame value="mesh_1" timestamp="" type=""/>
       <parentFrame value="frame_1" timestamp="" type=""/>
     </registrationHistory>
     <filePath>Images/ct.mhd</filePath>
     <acqusitionTime>20170918T105710308</acqusitionTime>
     <transferfunctions window="246"><alpha>0=0 24=0</alpha></transferfunctions>
     <landmarks><landmark uid="2"><coord>4 5 6</coord><timestamp/></landmark></landmarks>
     <modality>CT</modality><imageType>Angio</imageType>
   </data>
   <data type="mesh" uid="mesh_1" name="vessels">
     <registrationHistory><currentTime/>
       <parentFrame value="frame_2" timestamp="" type=""/>
       <parentFrame value="ct_1" timestamp="" type=""/></registrationHistory>
     <filePath>Images/vessels.vtk</filePath><organType>unknown</organType>
   </data>
   <data type="pointMetric" uid="m1" name="m1" space="data/ct_1" coord="1 0 0.5">
     <color>240/170/255</color></data>
   <data type="distanceMetric" uid="m5" p0="m1" p1="m1"/>
   <data type="fromTheFuture" uid="f" name="?"><x y="z">text</x></data>
  </datamanager>
  <toolManager><toolTipOffset>2.5</toolTipOffset>
   <manualTool>1 0 0 1 0 1 0 2 0 0 1 3 0 0 0 1</manualTool>
   <tools><tool uid="probe" x="1"><inner/></tool></tools></toolManager>
  <viewManager><global2DZoom>1</global2DZoom><text>a&#13;b &amp; c</text></viewManager>
 </managers>
 <ActiveData><activeUids>ct_1</activeUids></ActiveData>
</patient>
"""


def rich() -> Patient:
    return patient_of("custusdoc.xml", RICH.encode())


def volume(values: np.ndarray, r_M_d: np.ndarray, spacing=(0.5, 0.75, 1.25)) -> Volume:
    values = np.asarray(values, dtype=np.float32)
    nothing = np.zeros(values.shape, dtype=bool)
    return Volume(values, np.ones(values.shape, np.uint32), nothing, Grid(values.shape, spacing, r_M_d))


def made(rng: np.random.Generator) -> tuple[Patient, dict[str, Volume], dict[str, Mesh]]:
    """A patient of this kit: a CT, an ultrasound volume and a line, an oblique pose each."""
    ct = volume(rng.integers(-1000, 3000, size=(3, 4, 5)), R_M_CT)
    us = volume(rng.integers(1, 255, size=(2, 3, 4)), STEP @ R_M_CT)
    line = Mesh(rng.normal(scale=30, size=(4, 3)), (np.array([0, 1, 3]),), np.array([[0, 1, 2]]))
    data = {
        "ct": PatientData(
            "image", "CT", "Images/ct.mhd", History((Registered(R_M_CT),)), "20261124T120000000", "CT", "",
            {"1": Landmark(np.array([1.0, 2.5, 3.0]), "20261124T120100")},
        ),
        "us": PatientData(
            "image", "US", "Images/us.mhd", History((Registered(STEP @ R_M_CT),), (Parent("ct"),)),
            "20261124T121000000", "US", "B-Mode",
        ),
        "line": PatientData("mesh", "line", "Images/line.vtk", History((), (Parent("ct"),))),
        "m": PatientData("pointMetric", "m", attributes={"space": "reference", "coord": "1 2 3"}),
    }  # fmt: skip
    patient = Patient(
        version="kit",
        r_M_pr=History((Registered(STEP, "20261124T120200", "Patient Landmarks", "ct"),)),
        landmark_names={"1": LandmarkName("nose"), "2": LandmarkName("ear \u00f8", False)},
        landmarks_pr={"1": Landmark(np.array([9.0, -8.0, 7.0]), "20261124T120150")},
        data=data,
        center_r=np.array([1.0, 2.0, 3.0]),
        r_M_ot=STEP,
        manual_tool=R_M_CT,
        tools=({"uid": "pointer"},),
    )
    return patient, {"ct": ct, "us": us}, {"line": line}


def registered_twice(p: Patient) -> Patient:
    now = p.registrations
    now = register_to_image(now, "us", "ct", STEP, time_s=1_900_000_000.0, method="Landmark image to image")
    now = register_to_patient(now, R_M_CT, time_s=1_900_000_060.0, method="Fast")
    return with_registrations(p, now)
